// The service of tests/sdk/cart.py in Node.js: calls out are made by a queue's worker, which runs in the context that it was
// started in, so they begin traces, unless what is queued brings its own.
//
//     node cart.js lost|kept STOCK OTLP
'use strict'

const {AsyncResource} = require('async_hooks')
const {OTLPTraceExporter} = require('@opentelemetry/exporter-trace-otlp-http')
const {registerInstrumentations} = require('@opentelemetry/instrumentation')
const {GrpcInstrumentation} = require('@opentelemetry/instrumentation-grpc')
const {resourceFromAttributes} = require('@opentelemetry/resources')
const {BatchSpanProcessor, NodeTracerProvider} = require('@opentelemetry/sdk-trace-node')

const [kind, stock, url] = process.argv.slice(2)
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({'service.name': 'cart', 'service.instance.id': 'cart-1'}),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({url}), {scheduledDelayMillis: 200})]
})
provider.register()
registerInstrumentations({instrumentations: [new GrpcInstrumentation()], tracerProvider: provider})

const grpc = require('@grpc/grpc-js') // after the instrumentation, which wraps what is loaded from then on

const bytes = {
  requestSerialize: value => value,
  requestDeserialize: value => value,
  responseSerialize: value => value,
  responseDeserialize: value => value,
  requestStream: false,
  responseStream: false
}
const Stock = grpc.makeGenericClientConstructor({Take: {...bytes, path: '/shop.Stock/Take'}}, 'shop.Stock')
const client = new Stock(stock, grpc.credentials.createInsecure())

// A worker that runs from the start on, as a pool's does.
const queue = []
let wake = () => {}
async function work() {
  for (;;) {
    while (queue.length > 0) queue.shift()()
    await new Promise(resolve => { wake = resolve })
  }
}
work()

function get(call, callback) {
  const task = () => client.Take(call.request, callback)
  queue.push(kind === 'kept' ? AsyncResource.bind(task) : task)
  wake()
}

const server = new grpc.Server()
server.addService({Get: {...bytes, path: '/shop.Cart/Get'}}, {Get: get})
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  console.log(`127.0.0.1:${port}`)
})
process.stdin.resume()
process.stdin.on('end', () => server.tryShutdown(() => provider.shutdown().then(() => process.exit(0))))
