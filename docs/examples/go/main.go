// A hop in Go: it calls the next one with the headers and the time that it was given.
// go run . listens on TALK_LISTEN and calls TALK_NEXT_HOP.
package main

import (
	"context"
	"io"
	"log"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

// excerpt: headers
var headers = map[string]bool{
	"traceparent": true, "tracestate": true, "baggage": true,
	"x-b3-traceid": true, "x-b3-spanid": true, "x-b3-parentspanid": true,
	"x-b3-sampled": true, "x-b3-flags": true, "b3": true,
	"x-request-id": true, "x-client-trace-id": true, "x-ot-span-context": true,
	"sw8": true, "sw8-correlation": true, "sw8-x": true,
	"x-datadog-trace-id": true, "x-datadog-parent-id": true, "x-datadog-sampling-priority": true,
	"x-datadog-origin": true, "x-datadog-tags": true,
	"x-cloud-trace-context": true, "x-amzn-trace-id": true, "uber-trace-id": true, "x-asm-prefer-tag": true,
	"x-lane": true, "end-user": true, "tenant-bin": true,
}

// excerpt end
// excerpt: onward

// onward gives the context of the onward call. It carries the incoming call's deadline and
// cancellation already; gRPC takes its headers from the outgoing metadata, which is empty until set.
func onward(incoming context.Context) context.Context {
	received, _ := metadata.FromIncomingContext(incoming)
	kept, multiple := metadata.MD{}, false
	for key, values := range received {
		if headers[key] || strings.HasPrefix(key, "uberctx-") {
			kept[key] = sendable(key, values) // a list: duplicates and their order stay
		}
		multiple = multiple || strings.HasPrefix(key, "x-b3-")
	}
	if multiple {
		delete(kept, "b3")
	}
	return metadata.NewOutgoingContext(incoming, kept)
}

// sendable leaves out text that is not printable ASCII: gRPC refuses to send it, and one such value
// would fail the whole onward call.
func sendable(key string, values []string) []string {
	var kept []string
	for _, value := range values {
		if strings.HasSuffix(key, "-bin") || strings.IndexFunc(value, isUnprintable) < 0 {
			kept = append(kept, value)
		} else {
			log.Printf("%s: a value that is not printable ASCII stays behind", key)
		}
	}
	return kept
}

func isUnprintable(char rune) bool { return char < ' ' || char > '~' }

// excerpt end

const service = "org.feuyeux.grpc.LandingService"

// An empty message keeps the fields that it does not know: this hop passes any message on
// without generated code. With it, the calls are client.Talk(onward(ctx), request) and so on.
type message = emptypb.Empty

// excerpt: handlers

func talk(ctx context.Context, next *grpc.ClientConn, request *message) (*message, error) {
	response, trailer := new(message), metadata.MD{}
	err := next.Invoke(onward(ctx), "/"+service+"/Talk", request, response, grpc.Trailer(&trailer))
	grpc.SetTrailer(ctx, trailer)
	return response, err // as it is: the status goes back with its code, text and details
}

func stream(next *grpc.ClientConn, desc *grpc.StreamDesc, call grpc.ServerStream) error {
	ctx, cancel := context.WithCancelCause(onward(call.Context()))
	defer cancel(nil)
	further, err := next.NewStream(ctx, desc, "/"+service+"/"+desc.StreamName)
	if err != nil {
		return err
	}
	go passRequests(call, further, cancel)
	err = passAnswers(further, call)
	call.SetTrailer(further.Trailer())
	if cut := context.Cause(ctx); cut != nil {
		return cut // not the CANCELLED that it made of the onward call
	}
	return err
}

// passRequests half-closes the onward call where the caller half-closed, which io.EOF says. Any other
// error has cut the requests: half-closed, they would be taken for a complete, shorter upload.
func passRequests(call grpc.ServerStream, further grpc.ClientStream, cancel context.CancelCauseFunc) {
	for {
		request := new(message)
		if err := call.RecvMsg(request); err == io.EOF {
			further.CloseSend()
			return
		} else if err != nil {
			cancel(err)
			return
		}
		if further.SendMsg(request) != nil {
			return // the onward call has ended: whoever reads the answers learns why
		}
	}
}

// excerpt end

func passAnswers(further grpc.ClientStream, call grpc.ServerStream) error {
	for {
		response := new(message)
		if err := further.RecvMsg(response); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := call.SendMsg(response); err != nil {
			return err
		}
	}
}

func description(next *grpc.ClientConn) *grpc.ServiceDesc {
	unary := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		request := new(message)
		if err := decode(request); err != nil {
			return nil, err
		}
		return talk(ctx, next, request)
	}
	streams := []grpc.StreamDesc{
		{StreamName: "TalkOneAnswerMore", ServerStreams: true},
		{StreamName: "TalkMoreAnswerOne", ClientStreams: true},
		{StreamName: "TalkBidirectional", ServerStreams: true, ClientStreams: true},
	}
	for i := range streams {
		streams[i].Handler = func(_ any, call grpc.ServerStream) error { return stream(next, &streams[i], call) }
	}
	return &grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Talk", Handler: unary}},
		Streams:     streams,
	}
}

func listen(address string) (net.Listener, error) {
	if path, isSocket := strings.CutPrefix(address, "unix:"); isSocket {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", address)
}

func main() {
	next, err := grpc.NewClient(os.Getenv("TALK_NEXT_HOP"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := listen(os.Getenv("TALK_LISTEN"))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(description(next), nil)
	log.Fatal(server.Serve(listener))
}
