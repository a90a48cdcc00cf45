// A hop in Node.js: it calls the next one with the headers and the time that it was given.
// node hop.js listens on TALK_LISTEN and calls TALK_NEXT_HOP.
'use strict';

const http2 = require('node:http2');
const grpc = require('@grpc/grpc-js');

// excerpt: headers
const HEADERS = new Set([
  'traceparent', 'tracestate', 'baggage',
  'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'x-b3-flags', 'b3',
  'x-request-id', 'x-client-trace-id', 'x-ot-span-context',
  'sw8', 'sw8-correlation', 'sw8-x',
  'x-datadog-trace-id', 'x-datadog-parent-id', 'x-datadog-sampling-priority', 'x-datadog-origin', 'x-datadog-tags',
  'x-cloud-trace-context', 'x-amzn-trace-id', 'uber-trace-id', 'x-asm-prefer-tag',
  'x-lane', 'end-user', 'tenant-bin',
]);
// excerpt end

// excerpt: onward
function onward(received) {
  const keys = Object.keys(received.getMap()); // for the keys alone: its values are the first of each
  const multiple = keys.some((key) => key.startsWith('x-b3-'));
  const metadata = new grpc.Metadata();
  for (const key of keys) {
    if (!(HEADERS.has(key) || key.startsWith('uberctx-')) || (key === 'b3' && multiple)) continue;
    for (const value of received.get(key)) metadata.add(key, value);
  }
  return metadata;
}
// excerpt end

// excerpt: handlers
const handlers = (next) => ({
  Talk(call, callback) {
    const further = next.Talk(call.request, onward(call.metadata), { parent: call }, answering(callback, () => further));
  },
  TalkOneAnswerMore(call) {
    answerEach(next.TalkOneAnswerMore(call.request, onward(call.metadata), { parent: call }), call);
  },
  TalkMoreAnswerOne(call, callback) {
    const further = next.TalkMoreAnswerOne(onward(call.metadata), { parent: call }, answering(callback, () => further));
    passRequests(call, further);
  },
  TalkBidirectional(call) {
    const further = next.TalkBidirectional(onward(call.metadata), { parent: call });
    answerEach(further, call);
    passRequests(call, further);
  },
});

// A request stream that was cut 'end's like one that is complete, and 'cancelled' comes after it. Half-closed at once,
// the onward call would be taken for a complete, shorter one.
function passRequests(call, further) {
  call.pipe(further, { end: false });
  call.once('end', () => afterClosing(() => (call.cancelled ? further.cancel() : further.end())));
}

// Node closes a stream that was reset a turn of its event loop after its end, and gRPC says so in the turn after that.
function afterClosing(act) {
  setImmediate(() => setImmediate(() => setImmediate(act)));
}

// Node 20 cancels a stream by ending it first: END_STREAM goes out in front of RST_STREAM, and the next hop may have taken
// the request for complete by then. gRPC gives no way to its streams, so each is caught where it is made: 'aborted'
// comes just before that end, for a stream that was not half-closed.
function cancelWithoutEnding() {
  const connect = http2.connect;
  http2.connect = (...options) => {
    const session = connect(...options);
    const request = session.request.bind(session);
    session.request = (...headers) => {
      const stream = request(...headers);
      return stream.once('aborted', () => (stream.end = () => stream));
    };
    return session;
  };
}
// excerpt end

// The status comes right after the answer or the error, and brings the trailers.
function answering(callback, further) {
  return (error, response) =>
    further().once('status', (status) => callback(error && { ...status, metadata: trailers(status) }, response, trailers(status)));
}

function answerEach(further, call) {
  further.pipe(call, { end: false });
  further.on('error', () => {}); // its status says the same
  further.on('status', (status) => {
    const metadata = trailers(status);
    const end = () => (status.code === grpc.status.OK ? call.end(metadata) : call.emit('error', { ...status, metadata }));
    further.on('end', end); // after the last answer
  });
}

// Where a status comes without an answer its trailers are HTTP headers too, and Node's servers put a date in these.
function trailers({ metadata }) {
  const kept = metadata.clone();
  kept.remove('date');
  return kept;
}

const SERVICE = 'org.feuyeux.grpc.LandingService';

// Messages as bytes: this hop passes them on undecoded, and so neither needs generated code nor loses unknown fields.
const asItIs = (message) => message;
const method = (name, requestStream, responseStream) => ({
  path: `/${SERVICE}/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asItIs,
  requestDeserialize: asItIs,
  responseSerialize: asItIs,
  responseDeserialize: asItIs,
});
const LandingService = {
  Talk: method('Talk', false, false),
  TalkOneAnswerMore: method('TalkOneAnswerMore', false, true),
  TalkMoreAnswerOne: method('TalkMoreAnswerOne', true, false),
  TalkBidirectional: method('TalkBidirectional', true, true),
};

function main() {
  cancelWithoutEnding();
  const Client = grpc.makeGenericClientConstructor(LandingService, SERVICE);
  const next = new Client(process.env.TALK_NEXT_HOP, grpc.credentials.createInsecure());
  const server = new grpc.Server();
  server.addService(LandingService, handlers(next));
  server.bindAsync(process.env.TALK_LISTEN, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
  });
}

main();
