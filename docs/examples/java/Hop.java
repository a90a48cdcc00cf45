// A hop in Java: it calls the next one with the headers and the time that it was given.
// java -cp 'classes:libraries/*' Hop listens on TALK_LISTEN (unix:PATH on Linux, or HOST:PORT) and calls TALK_NEXT_HOP.

import static io.grpc.stub.ServerCalls.asyncBidiStreamingCall;
import static io.grpc.stub.ServerCalls.asyncClientStreamingCall;
import static io.grpc.stub.ServerCalls.asyncServerStreamingCall;
import static io.grpc.stub.ServerCalls.asyncUnaryCall;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollIoHandler;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;

final class Hop {
  private static final Set<String> HEADERS = Set.of(
      "traceparent", "tracestate", "baggage",
      "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3",
      "x-request-id", "x-client-trace-id", "x-ot-span-context",
      "sw8", "sw8-correlation", "sw8-x",
      "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority", "x-datadog-origin", "x-datadog-tags",
      "x-cloud-trace-context", "x-amzn-trace-id", "uber-trace-id", "x-asm-prefer-tag",
      "x-lane", "end-user", "tenant-bin");

  // excerpt: onward

  /** The listed headers: getAll keeps duplicates and their order, where get gives the last one alone. */
  static Metadata onward(Metadata received) {
    boolean multiple = received.keys().stream().anyMatch(name -> name.startsWith("x-b3-"));
    Metadata onward = new Metadata();
    for (String name : received.keys()) {
      if (!(HEADERS.contains(name) || name.startsWith("uberctx-")) || (name.equals("b3") && multiple)) {
        continue;
      } else if (name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
        copy(Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER), received, onward);
      } else {
        copy(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), received, onward);
      }
    }
    return onward;
  }

  private static <T> void copy(Metadata.Key<T> key, Metadata from, Metadata to) {
    from.getAll(key).forEach(value -> to.put(key, value));
  }

  // excerpt end
  // excerpt: interceptors

  /** What the incoming call came with, kept in its Context; the deadline and cancellation are in there already. */
  private static final Context.Key<Metadata> ONWARD = Context.key("onward");

  static final class Extract implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> handler) {
      Context context = Context.current().withValue(ONWARD, onward(headers));
      return Contexts.interceptCall(context, call, headers, handler);
    }
  }

  static final class Inject implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      Metadata onward = ONWARD.get(); // null outside of a call
      return onward == null
          ? next.newCall(method, options)
          : MetadataUtils.newAttachHeadersInterceptor(onward).interceptCall(method, options, next);
    }
  }

  // excerpt end

  /** Trailers of the onward call go back with the answer; with an error they do by themselves. */
  static final class PassTrailersBack implements ServerInterceptor, ClientInterceptor {
    private static final Context.Key<AtomicReference<Metadata>> TRAILERS = Context.key("trailers");

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> handler) {
      AtomicReference<Metadata> trailers = new AtomicReference<>();
      ServerCall<Q, A> closing = new SimpleForwardingServerCall<>(call) {
        @Override
        public void close(Status status, Metadata own) {
          Metadata further = trailers.get();
          super.close(status, status.isOk() && further != null ? further : own);
        }
      };
      return Contexts.interceptCall(Context.current().withValue(TRAILERS, trailers), closing, headers, handler);
    }

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      return MetadataUtils.newCaptureMetadataInterceptor(new AtomicReference<>(), TRAILERS.get())
          .interceptCall(method, options, next);
    }
  }

  // excerpt: handlers

  static ServerServiceDefinition service(Channel next) {
    CallOptions as = CallOptions.DEFAULT;
    return ServerServiceDefinition.builder(SERVICE)
        .addMethod(ONE_ONE, asyncUnaryCall((request, answer) ->
            ClientCalls.asyncUnaryCall(next.newCall(ONE_ONE, as), request, answer)))
        .addMethod(ONE_MORE, asyncServerStreamingCall((request, answers) ->
            ClientCalls.asyncServerStreamingCall(next.newCall(ONE_MORE, as), request, answers)))
        .addMethod(MORE_ONE, asyncClientStreamingCall(answer ->
            ClientCalls.asyncClientStreamingCall(next.newCall(MORE_ONE, as), answer)))
        .addMethod(MORE_MORE, asyncBidiStreamingCall(answers ->
            ClientCalls.asyncBidiStreamingCall(next.newCall(MORE_MORE, as), answers)))
        .build();
  }

  // excerpt end

  private static final String SERVICE = "org.feuyeux.grpc.LandingService";
  private static final MethodDescriptor<byte[], byte[]> ONE_ONE = method("Talk", MethodType.UNARY);
  private static final MethodDescriptor<byte[], byte[]> ONE_MORE =
      method("TalkOneAnswerMore", MethodType.SERVER_STREAMING);
  private static final MethodDescriptor<byte[], byte[]> MORE_ONE =
      method("TalkMoreAnswerOne", MethodType.CLIENT_STREAMING);
  private static final MethodDescriptor<byte[], byte[]> MORE_MORE =
      method("TalkBidirectional", MethodType.BIDI_STREAMING);

  /** Messages as bytes: this hop passes them on undecoded, and so needs no generated code. */
  private static MethodDescriptor<byte[], byte[]> method(String name, MethodType type) {
    return MethodDescriptor.newBuilder(new Bytes(), new Bytes())
        .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
        .setType(type)
        .build();
  }

  private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] message) {
      return new ByteArrayInputStream(message);
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

  private static NettyServerBuilder listenOn(String address) {
    if (address.startsWith("unix:")) {
      return NettyServerBuilder.forAddress(new DomainSocketAddress(address.substring("unix:".length())))
          .channelType(EpollServerDomainSocketChannel.class)
          .bossEventLoopGroup(new MultiThreadIoEventLoopGroup(1, EpollIoHandler.newFactory()))
          .workerEventLoopGroup(new MultiThreadIoEventLoopGroup(1, EpollIoHandler.newFactory()));
    }
    return NettyServerBuilder.forPort(Integer.parseInt(address.substring(address.lastIndexOf(':') + 1)));
  }

  private static ManagedChannelBuilder<?> channelTo(String target) {
    ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create());
    // The authority would be the socket's path, which Envoy refuses.
    return target.startsWith("unix:") ? builder.overrideAuthority("localhost") : builder;
  }

  public static void main(String[] arguments) throws IOException, InterruptedException {
    PassTrailersBack trailers = new PassTrailersBack();
    Channel next = channelTo(System.getenv("TALK_NEXT_HOP")).intercept(new Inject(), trailers).build();
    Server server = listenOn(System.getenv("TALK_LISTEN"))
        .addService(service(next))
        .intercept(new Extract())
        .intercept(trailers)
        .build()
        .start();
    server.awaitTermination();
  }
}
