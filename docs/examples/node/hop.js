// A hop in Node.js: it calls the next one with the headers and the time that it was given.
// node hop.js [PROTO] listens on TALK_LISTEN and calls TALK_NEXT_HOP.
'use strict';

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const HEADERS = new Set([
  'traceparent', 'tracestate', 'baggage',
  'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'x-b3-flags', 'b3',
  'x-request-id', 'x-client-trace-id', 'x-ot-span-context',
  'sw8', 'sw8-correlation', 'sw8-x',
  'x-datadog-trace-id', 'x-datadog-parent-id', 'x-datadog-sampling-priority', 'x-datadog-origin', 'x-datadog-tags',
  'x-cloud-trace-context', 'x-amzn-trace-id', 'uber-trace-id', 'x-asm-prefer-tag',
  'x-lane', 'end-user', 'tenant-bin',
]);

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
    call.pipe(further);
  },
  TalkBidirectional(call) {
    const further = next.TalkBidirectional(onward(call.metadata), { parent: call });
    answerEach(further, call);
    call.pipe(further);
  },
});
// excerpt end

// The status comes right after the answer or the error, and brings the trailers.
function answering(callback, further) {
  return (error, response) => further().once('status', ({ metadata }) => callback(error, response, metadata));
}

function answerEach(further, call) {
  further.pipe(call, { end: false });
  further.on('error', () => {}); // its status says the same
  further.on('status', (status) => {
    const end = () => (status.code === grpc.status.OK ? call.end(status.metadata) : call.emit('error', status));
    further.on('end', end); // after the last answer
  });
}

function main() {
  const proto = process.argv[2] || path.join(__dirname, '..', '..', '..', 'protos', 'landing.proto');
  const { LandingService } = grpc.loadPackageDefinition(loader.loadSync(proto)).org.feuyeux.grpc;
  const next = new LandingService(process.env.TALK_NEXT_HOP, grpc.credentials.createInsecure());
  const server = new grpc.Server();
  server.addService(LandingService.service, handlers(next));
  server.bindAsync(process.env.TALK_LISTEN, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
  });
}

main();
