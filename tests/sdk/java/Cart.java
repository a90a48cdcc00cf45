// A service without a mesh, whose spans OpenTelemetry's SDK makes: each call in makes one call out, by an executor.
// An executor's threads do not take over the caller's context, so its call out begins a trace, unless it is handed on.
//
// java -cp 'classes:libraries/*' Cart lost|kept STOCK OTLP
//
// STOCK is the address called, OTLP the URL for spans. It prints its own address and serves until its input ends.

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

final class Cart {
  private static final MethodDescriptor<byte[], byte[]> GET = method("shop.Cart/Get");
  private static final MethodDescriptor<byte[], byte[]> TAKE = method("shop.Stock/Take");

  private final Tracer tracer;
  private final Channel stock;
  private final ExecutorService pool;

  Cart(Tracer tracer, Channel stock, ExecutorService pool) {
    this.tracer = tracer;
    this.stock = stock;
    this.pool = pool;
  }

  public static void main(String[] words) throws Exception {
    SdkTracerProvider spans = spans(words[2]);
    ManagedChannel stock = Grpc.newChannelBuilder(words[1], InsecureChannelCredentials.create())
        .proxyDetector(any -> null)
        .build();
    ExecutorService pool = Executors.newFixedThreadPool(16);
    Cart cart = new Cart(spans.get("cart"), stock, words[0].equals("kept") ? Context.taskWrapping(pool) : pool);
    InetSocketAddress anyPort = new InetSocketAddress("127.0.0.1", 0);
    Server server = NettyServerBuilder.forAddress(anyPort, InsecureServerCredentials.create())
        .addService(cart.service())
        .build()
        .start();
    System.out.println("127.0.0.1:" + server.getPort());
    System.in.readAllBytes();
    server.shutdown().awaitTermination(5, TimeUnit.SECONDS);
    stock.shutdownNow();
    pool.shutdown();
    spans.shutdown().join(10, TimeUnit.SECONDS);
  }

  private static SdkTracerProvider spans(String otlp) {
    return SdkTracerProvider.builder()
        .setResource(Resource.create(Attributes.of(
            AttributeKey.stringKey("service.name"), "cart", AttributeKey.stringKey("service.instance.id"), "cart-1")))
        .addSpanProcessor(BatchSpanProcessor.builder(OtlpHttpSpanExporter.builder().setEndpoint(otlp).build())
            .setScheduleDelay(200, TimeUnit.MILLISECONDS)
            .build())
        .build();
  }

  private ServerServiceDefinition service() {
    return ServerServiceDefinition.builder("shop.Cart")
        .addMethod(GET, ServerCalls.asyncUnaryCall((request, answers) -> {
          try {
            answers.onNext(get(request));
            answers.onCompleted();
          } catch (Exception failed) {
            answers.onError(failed);
          }
        }))
        .build();
  }

  private byte[] get(byte[] request) throws Exception {
    Span span = span(GET, SpanKind.SERVER);
    try {
      return Context.current().with(span).wrap(() -> pool.submit(() -> take(request)).get()).call();
    } finally {
      span.end();
    }
  }

  private byte[] take(byte[] request) {
    Span span = span(TAKE, SpanKind.CLIENT);
    try {
      return ClientCalls.blockingUnaryCall(stock, TAKE, CallOptions.DEFAULT, request);
    } finally {
      span.end();
    }
  }

  /** Below the span of the thread's own context, where there is one. */
  private Span span(MethodDescriptor<byte[], byte[]> method, SpanKind kind) {
    return tracer.spanBuilder(method.getFullMethodName())
        .setSpanKind(kind)
        .setAttribute("rpc.service", method.getServiceName())
        .setAttribute("rpc.method", method.getBareMethodName())
        .startSpan();
  }

  private static MethodDescriptor<byte[], byte[]> method(String name) {
    return MethodDescriptor.newBuilder(Bytes.INSTANCE, Bytes.INSTANCE)
        .setType(MethodDescriptor.MethodType.UNARY)
        .setFullMethodName(name)
        .build();
  }

  private enum Bytes implements MethodDescriptor.Marshaller<byte[]> {
    INSTANCE;

    @Override
    public InputStream stream(byte[] value) {
      return new ByteArrayInputStream(value);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
