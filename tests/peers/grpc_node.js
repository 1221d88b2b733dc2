// A client and server of gRPC's own with xDS, in JavaScript: told what to do line by line, as grpc_core.py says.
"use strict";

const net = require("net");
const readline = require("readline");
const grpc = require("@grpc/grpc-js");
const xds = require("@grpc/grpc-js-xds");

xds.register();
const bytes = { serialize: (b) => b, deserialize: (b) => b };
const channels = {};
let flow;

class Tally {
  constructor() {
    this.answers = {};
    this.errors = {};
  }

  call(ask, seconds) {
    const metadata = new grpc.Metadata();
    for (const [key, value] of Object.entries(ask.headers ?? {})) metadata.add(key, value);
    const options = { deadline: Date.now() + seconds * 1000 };
    const client = channels[ask.channel];
    return new Promise((done) => {
      client.makeUnaryRequest(
        ask.method, bytes.serialize, bytes.deserialize, Buffer.alloc(0), metadata, options, (error, body) => {
          const [counts, what] = error
            ? [this.errors, `${grpc.status[error.code]}: ${error.details}`]
            : [this.answers, body.toString()];
          counts[what] = (counts[what] ?? 0) + 1;
          done();
        });
    });
  }

  report() {
    return { answers: this.answers, errors: this.errors };
  }
}

class Flow {
  constructor(ask) {
    this.tally = new Tally();
    this.ended = false;
    this.running = this.run(ask);
  }

  async run(ask) {
    while (!this.ended) {
      await this.tally.call(ask, 10);
      await new Promise((done) => setTimeout(done, 2));
    }
  }

  async stop() {
    this.ended = true;
    await this.running;
    return this.tally.report();
  }
}

// A port that was free a moment ago: an xDS server's listener is named after it, so that it must be known before.
function freePort() {
  return new Promise((done) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

async function serve(ask) {
  const server = new xds.XdsServer();
  const who = { path: "/echo.Echo/Who", requestStream: false, responseStream: false };
  Object.assign(who, { requestSerialize: bytes.serialize, requestDeserialize: bytes.deserialize });
  Object.assign(who, { responseSerialize: bytes.serialize, responseDeserialize: bytes.deserialize });
  server.addService({ Who: who }, { Who: (_call, answer) => answer(null, Buffer.from(ask.name)) });
  const address = `127.0.0.1:${await freePort()}`;
  // It is bound when its listener comes.
  server.bindAsync(address, new xds.XdsServerCredentials(grpc.ServerCredentials.createInsecure()), () => {});
  return { address };
}

const actions = {
  open(ask) {
    const credentials = new xds.XdsChannelCredentials(grpc.credentials.createInsecure());
    channels[ask.channel] = new grpc.Client(ask.target, credentials);
    return {};
  },
  async call(ask) {
    const tally = new Tally();
    await Promise.all(Array.from({ length: ask.count ?? 1 }, () => tally.call(ask, ask.seconds)));
    return tally.report();
  },
  flow(ask) {
    flow = new Flow(ask);
    return {};
  },
  stop: () => flow.stop(),
  serve,
};

async function main() {
  const admin = new grpc.Server();
  grpc.addAdminServicesToServer(admin);
  const say = (what) => console.log(JSON.stringify(what));
  admin.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_error, port) => say({ csds: port }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const ask = JSON.parse(line);
    say(await actions[ask.do](ask));
  }
  process.exit(0);
}

main();
