// A hop in Java: it calls the next one with the headers and the time that it was given.
// java -cp 'classes:libraries/*' Hop listens on TALK_LISTEN (unix:PATH on Linux, or HOST:PORT) and calls TALK_NEXT_HOP.

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Contexts;
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
import io.grpc.stub.MetadataUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.util.Set;

final class Hop {
  // excerpt: headers
  private static final Set<String> HEADERS = Set.of(
      "traceparent", "tracestate", "baggage",
      "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3",
      "x-request-id", "x-client-trace-id", "x-ot-span-context",
      "sw8", "sw8-correlation", "sw8-x",
      "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority", "x-datadog-origin", "x-datadog-tags",
      "x-cloud-trace-context", "x-amzn-trace-id", "uber-trace-id", "x-asm-prefer-tag",
      "x-lane", "end-user", "tenant-bin");
  // excerpt end

  private static final Logger LOGGER = System.getLogger("hop");

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
    for (T value : from.getAll(key)) {
      if (value instanceof String text && !text.chars().allMatch(character -> character >= ' ' && character <= '~')) {
        // gRPC has read what is no ASCII as U+FFFD, and would send it on as question marks.
        LOGGER.log(Level.WARNING, "{0}: a value that is not printable ASCII stays behind", key.name());
      } else {
        to.put(key, value);
      }
    }
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

  // excerpt: handlers

  static ServerServiceDefinition service(Channel next) {
    ServerCallHandler<byte[], byte[]> relay = (call, headers) -> {
      Relay one = new Relay(call, next.newCall(call.getMethodDescriptor(), CallOptions.DEFAULT));
      one.start();
      return one.requests;
    };
    return ServerServiceDefinition.builder(SERVICE)
        .addMethod(ONE_ONE, relay)
        .addMethod(ONE_MORE, relay)
        .addMethod(MORE_ONE, relay)
        .addMethod(MORE_MORE, relay)
        .build();
  }

  /**
   * One call of any pattern. Each side is asked for its next message once the other can take one: what a slow reader
   * does not take stays with its sender.
   */
  private static final class Relay {
    private final ServerCall<byte[], byte[]> call;
    private final ClientCall<byte[], byte[]> further;
    final Requests requests = new Requests();
    private final Answers answers = new Answers();

    Relay(ServerCall<byte[], byte[]> call, ClientCall<byte[], byte[]> further) {
      this.call = call;
      this.further = further;
    }

    void start() {
      further.start(answers, new Metadata());
      further.request(1);
      call.request(1);
    }

    private final class Requests extends ServerCall.Listener<byte[]> {
      private boolean waiting;

      @Override
      public void onMessage(byte[] request) {
        further.sendMessage(request);
        synchronized (this) {
          waiting = true;
        }
        askForMore();
      }

      synchronized void askForMore() {
        if (waiting && further.isReady()) {
          waiting = false;
          call.request(1);
        }
      }

      @Override
      public void onHalfClose() {
        further.halfClose(); // the caller's own word: a request stream that was cut comes to onCancel instead
      }

      @Override
      public void onCancel() {
        further.cancel("the incoming call was cancelled", null);
      }

      @Override
      public void onReady() {
        answers.askForMore();
      }
    }

    private final class Answers extends ClientCall.Listener<byte[]> {
      private boolean waiting;

      @Override
      public void onHeaders(Metadata headers) {
        call.sendHeaders(new Metadata());
      }

      @Override
      public void onMessage(byte[] answer) {
        call.sendMessage(answer);
        synchronized (this) {
          waiting = true;
        }
        askForMore();
      }

      synchronized void askForMore() {
        if (waiting && (call.isReady() || call.getMethodDescriptor().getType().serverSendsOneMessage())) {
          waiting = false;
          further.request(1);
        }
      }

      @Override
      public void onClose(Status status, Metadata trailers) {
        if (!call.isCancelled()) { // there is nobody to tell, and a status for a stream that is gone ends its connection
          call.close(status, trailers);
        }
      }

      @Override
      public void onReady() {
        requests.askForMore();
      }
    }
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
    int colon = address.lastIndexOf(':');
    String host = address.substring(0, colon).replaceAll("[\\[\\]]", ""); // [::1]:PORT, as gRPC writes it
    return NettyServerBuilder.forAddress(new InetSocketAddress(host, Integer.parseInt(address.substring(colon + 1))));
  }

  private static ManagedChannelBuilder<?> channelTo(String target) {
    ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create());
    // The authority would be the socket's path, which Envoy refuses.
    return target.startsWith("unix:") ? builder.overrideAuthority("localhost") : builder;
  }

  public static void main(String[] arguments) throws IOException, InterruptedException {
    Channel next = channelTo(System.getenv("TALK_NEXT_HOP")).intercept(new Inject()).build();
    Server server = listenOn(System.getenv("TALK_LISTEN"))
        .addService(service(next))
        .intercept(new Extract())
        .build()
        .start();
    server.awaitTermination();
  }
}
