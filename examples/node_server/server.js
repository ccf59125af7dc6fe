// An environment server for rlbridge in another language, written from protos/rlbridge/v1/*.proto alone: CartPole, single
// and in batches, every step exactly once. It leaves out what is optional: resume, keepalive, render, reset_mask.
//
//   node server.js [PORT]        prints "serving grpc://127.0.0.1:PORT"
'use strict';

const crypto = require('crypto');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');
const { CartPole } = require('./cartpole');

const definition = loadSync('rlbridge/v1/env.proto', {
  includeDirs: [path.join(__dirname, '..', '..', 'protos')],
  keepCase: true, // fields are called what the protos call them
  longs: String, // JavaScript's numbers hold 53 bits, an epoch has 64
  enums: String,
  oneofs: true, // request.request names the part that is set; _seed says whether there is a seed
  defaults: true,
});
const service = grpc.loadPackageDefinition(definition).rlbridge.v1.EnvService.service;

const EPOCH = crypto.randomBytes(8).readBigUInt64LE().toString(); // another one for each life of this process
const LIMITS = { max_sessions: 16, max_envs: 256, max_message_bytes: 4 << 20, kept_outcomes: 2, lease_ms: 60000 };
const MODES = ['AUTORESET_MODE_NEXT_STEP', 'AUTORESET_MODE_SAME_STEP']; // the first one is the default
const ROW_BYTES = 16 + 16 + 8 + 4 + 4; // observation, final observation, reward, flags, row number
const HEADROOM = 1024;

// ------------------------------------------------------------------------------------------------------- errors

const CODES = {
  INVALID_ACTION: 3, INVALID_REQUEST: 3, UNKNOWN_ENVIRONMENT: 5, SESSION_EXPIRED: 5, CAPACITY_EXHAUSTED: 8,
  MESSAGE_TOO_LARGE: 8, PROTOCOL_MISMATCH: 9, SEQ_GAP: 9, EPOCH_CHANGED: 9, NEEDS_RESET: 9, UNSUPPORTED: 9,
  SEQ_CONFLICT: 10, SUPERSEDED: 10, SEQ_EXPIRED: 11, UNIMPLEMENTED: 12, INTERNAL: 13,
};

class Refusal extends Error {
  constructor(reason, message, details = {}) {
    super(message);
    this.reason = reason;
    this.details = details;
  }

  // The message Error of env.proto.
  get answer() {
    return { code: CODES[this.reason], reason: this.reason, message: this.message, details: this.details };
  }

  // The same as the end of a unary call: a status, and the message whole in a trailer. proto-loader makes no serialiser for
  // a message alone, so one that carries it (field 4 of ExchangeResponse) is serialised, and its tag and length taken off.
  get status() {
    const bytes = service.Exchange.responseSerialize({ error: this.answer });
    let start = 1;
    while (bytes[start] & 0x80) start += 1;
    const metadata = new grpc.Metadata();
    metadata.set('rlbridge-error-bin', bytes.subarray(start + 1));
    return { code: CODES[this.reason], details: this.message, metadata };
  }
}

const refuse = (reason, message, details) => { throw new Refusal(reason, message, details); };
const asRefusal = (error) => (error instanceof Refusal ? error : new Refusal('INTERNAL', `the server failed: ${error}`));

// ----------------------------------------------------------------------------------------------------- sessions

const sessions = new Map(); // id -> Session
const opens = new Map(); // open_key in hex -> Session

class Session {
  constructor(request) {
    this.id = crypto.randomBytes(8).toString('hex');
    this.token = crypto.randomBytes(16);
    this.key = request.open_key.toString('hex');
    this.n = request.num_envs;
    this.rows = Math.max(this.n, 1);
    this.mode = this.n ? modeOf(request.autoreset_mode) : 'AUTORESET_MODE_UNSPECIFIED';
    this.leaseMs = Math.min(request.lease_ms || LIMITS.lease_ms, LIMITS.lease_ms);
    this.finalInfo = !request.infos || request.infos.keys.includes('final_info');
    this.nextSeq = 1;
    this.kept = new Map(); // seq -> { content, response }
    this.envs = Array.from({ length: this.rows }, () => new CartPole());
    this.ended = new Array(this.rows).fill(false); // NEXT_STEP: rows that the next step resets
    this.running = false; // has been reset
    this.opened = {
      session: { id: this.id, token: this.token, attachment: 1 },
      epoch: EPOCH,
      next_seq: 1,
      lease_ms: this.leaseMs,
      kept_outcomes: LIMITS.kept_outcomes,
      ...CartPole.spaces,
      autoreset_mode: this.mode,
      largest_message_bytes: largestMessage(this.rows),
      environment: 'CartPole-v1',
      num_envs: this.n,
    };
    this.touch();
  }

  touch() {
    this.expiresAt = Date.now() + this.leaseMs;
  }

  // The table above StepRequest. JavaScript runs one request at a time, so none is ever found "being executed".
  execute(kind, body) {
    this.touch();
    const seq = Number(body.seq);
    const content = service.Exchange.requestSerialize({ [kind]: { ...body, session: null } }); // all but who is speaking
    if (seq > this.nextSeq) {
      refuse('SEQ_GAP', `request ${seq} where ${this.nextSeq} is next`, { expected: String(this.nextSeq) });
    }
    if (seq < this.nextSeq) {
      const kept = this.kept.get(seq);
      if (!kept) refuse('SEQ_EXPIRED', `the outcome of ${seq} is no longer kept; the last ${LIMITS.kept_outcomes} are`);
      if (!kept.content.equals(content)) refuse('SEQ_CONFLICT', `request ${seq} was executed with other content`);
      return { [kind]: { ...kept.response[kind], replayed: true } };
    }
    const outcome = this[kind](body); // throws where nothing was touched: then the number is not used up
    const response = { [kind]: { seq, ...outcome } };
    this.kept.set(seq, { content, response });
    this.kept.delete(seq - LIMITS.kept_outcomes);
    this.nextSeq += 1;
    return response;
  }

  reset(request) {
    if (request.reset_mask.length) refuse('UNSUPPORTED', 'this server has no reset_mask');
    if (request.row_seeds.length && request.row_seeds.length !== this.n) {
      refuse('INVALID_REQUEST', `${request.row_seeds.length} row_seeds for num_envs = ${this.n}`);
    }
    const seedOf = (row) => {
      if (request.row_seeds.length) return present(request.row_seeds[row]);
      const seed = present(request);
      return seed === undefined ? undefined : seed + BigInt(row); // row i gets seed + i
    };
    this.ended.fill(false);
    this.running = true;
    return { observation: [Buffer.concat(this.envs.map((env, row) => env.reset(seedOf(row))))] };
  }

  step(request) {
    if (!this.running) refuse('NEEDS_RESET', 'step before the first reset: reset first');
    const actions = this.readActions(request.action);
    const observations = [], finals = [];
    const answer = {
      reward: Buffer.alloc(8 * this.rows),
      terminated: Buffer.alloc(this.rows),
      truncated: Buffer.alloc(this.rows),
      was_reset: Buffer.alloc(this.rows),
      final_rows: [],
    };
    for (const [row, env] of this.envs.entries()) {
      if (this.ended[row]) { // NEXT_STEP: the action is ignored, reward 0, neither flag
        observations.push(env.reset());
        answer.was_reset[row] = 1;
        this.ended[row] = false;
        continue;
      }
      const { observation, reward, terminated, truncated } = env.step(actions[row]);
      answer.reward.writeDoubleLE(reward, 8 * row);
      answer.terminated[row] = Number(terminated);
      answer.truncated[row] = Number(truncated);
      const over = terminated || truncated;
      if (over && this.mode === 'AUTORESET_MODE_SAME_STEP') {
        answer.final_rows.push(row);
        finals.push(observation); // before the reset
        observations.push(env.reset());
      } else {
        observations.push(observation);
        this.ended[row] = over && this.mode === 'AUTORESET_MODE_NEXT_STEP';
      }
    }
    answer.observation = [Buffer.concat(observations)];
    if (finals.length) {
      answer.final_observation = [Buffer.concat(finals)];
      if (this.finalInfo) answer.info = finalInfo(this.rows, answer.final_rows);
    }
    return answer;
  }

  // Everything is looked at before anything is stepped.
  readActions(blocks) {
    const size = 8 * this.rows;
    if (blocks.length !== 1 || blocks[0].length !== size) {
      refuse('INVALID_ACTION', `one block of ${size} bytes is expected: int64, ${this.rows} row(s)`);
    }
    return Array.from({ length: this.rows }, (_, row) => {
      const block = blocks[0].subarray(8 * row, 8 * row + 8);
      const action = CartPole.actions.findIndex((known) => known.equals(block));
      if (action < 0) refuse('INVALID_ACTION', `row ${row}: ${block.readBigInt64LE()} is not 0 or 1`, { row: String(row) });
      return action;
    });
  }
}

// A seed is there or not; 0 is a seed.
const present = (message) => (message._seed === 'seed' ? BigInt(message.seed) : undefined);

const largestMessage = (rows) => rows * ROW_BYTES + HEADROOM;

function modeOf(asked) {
  if (asked === 'AUTORESET_MODE_UNSPECIFIED') return MODES[0];
  return MODES.includes(asked) ? asked : refuse('UNSUPPORTED', `${asked} is not on offer; ${MODES.join(', ')} are`);
}

// CartPole has no infos, so the last infos of the ended rows are empty: a column without keys, and the mask of its rows.
function finalInfo(n, rows) {
  const mask = Buffer.alloc(n);
  rows.forEach((row) => { mask[row] = 1; });
  const array = { data_type: 'DATA_TYPE_BOOL', shape: [n], data: mask };
  return { map: { entries: [{ key: 'final_info', value: { map: {} } }, { key: '_final_info', value: { array } }] } };
}

// The session that a caller names and holds the token of. One answer for a wrong id and a wrong token.
function find(ref, epoch) {
  if (epoch !== EPOCH) refuse('EPOCH_CHANGED', 'that session belonged to a process that is gone: open a new one');
  const session = ref && sessions.get(ref.id);
  const known = session && ref.token.length === session.token.length && crypto.timingSafeEqual(ref.token, session.token);
  if (!known) refuse('SESSION_EXPIRED', 'no such session with this token: closed, or its lease ran out');
  if (Number(ref.attachment) !== 1) refuse('SUPERSEDED', 'this server has only first attachments');
  return session;
}

function remove(session) {
  sessions.delete(session.id);
  opens.delete(session.key);
}

setInterval(() => {
  for (const session of [...sessions.values()]) if (session.expiresAt < Date.now()) remove(session);
}, 100).unref();

// -------------------------------------------------------------------------------------------------------- calls

function describe(request) {
  return {
    protocol_version: request.protocol_versions.includes(1) ? 1 : 0,
    protocol_versions: [1],
    server: 'rlbridge-node-server 0.1.0',
    epoch: EPOCH,
    capabilities: ['exchange', 'spaces'],
    limits: { ...LIMITS, open_sessions: sessions.size },
    environments: [{ name: 'CartPole-v1', summary: 'CartPole, in JavaScript', autoreset_modes: MODES }],
  };
}

const checkName = (name) => name && name !== 'CartPole-v1' && refuse('UNKNOWN_ENVIRONMENT', `no ${name}; CartPole-v1 is`);

function open(request) {
  if (request.protocol_version !== 1) refuse('PROTOCOL_MISMATCH', `version ${request.protocol_version}; this is 1`);
  if (request.open_key.length < 16) refuse('INVALID_REQUEST', 'open_key needs at least 16 random bytes');
  const known = opens.get(request.open_key.toString('hex'));
  if (known) return known.opened;
  checkName(request.environment);
  if (request.render_mode) refuse('UNSUPPORTED', 'this environment cannot render');
  if (sessions.size >= LIMITS.max_sessions) refuse('CAPACITY_EXHAUSTED', `${LIMITS.max_sessions} sessions are open`);
  if (request.num_envs > LIMITS.max_envs) refuse('CAPACITY_EXHAUSTED', `at most ${LIMITS.max_envs} environments`);
  const largest = largestMessage(Math.max(request.num_envs, 1));
  const limit = Math.min(Number(request.max_message_bytes) || Infinity, LIMITS.max_message_bytes);
  if (largest > limit) refuse('MESSAGE_TOO_LARGE', `a step can take ${largest} bytes, the limit is ${limit}`);
  const session = new Session(request);
  sessions.set(session.id, session);
  opens.set(session.key, session);
  return session.opened;
}

function close(request) {
  try {
    remove(find(request.session, request.epoch));
  } catch (error) { // what is not there is closed already
    if (!['SESSION_EXPIRED', 'EPOCH_CHANGED'].includes(error.reason)) throw error;
  }
  return {};
}

function unary(call) {
  return ({ request }, callback) => {
    try {
      callback(null, call(request));
    } catch (error) {
      callback(asRefusal(error).status);
    }
  };
}

const absent = () => refuse('UNIMPLEMENTED', 'this server does not have the call; Describe tells its capabilities');
const hot = (kind) => unary((body) => find(body.session, body.epoch).execute(kind, body)[kind]);

// A stream of requests of one session, answered in order; an error is an answer, and the stream goes on. It remembers who is
// speaking from the latest request that said so. Its end says nothing about the session.
function exchange(stream) {
  let speaker = null;
  stream.on('data', (message) => {
    const kind = message.request;
    const body = kind && message[kind];
    try {
      if (!body) refuse('INVALID_REQUEST', 'a request without a kind');
      if (!['step', 'reset'].includes(kind)) absent();
      speaker = body.session || speaker;
      stream.write(find(speaker, body.epoch).execute(kind, body));
    } catch (error) {
      stream.write({ error: asRefusal(error).answer, error_seq: body ? body.seq : 0 });
    }
  });
  stream.on('end', () => stream.end());
  stream.on('error', () => {}); // the connection was lost; the session was not
}

const server = new grpc.Server({
  'grpc.max_receive_message_length': LIMITS.max_message_bytes,
  'grpc.max_send_message_length': LIMITS.max_message_bytes,
});
server.addService(service, {
  Describe: unary(describe),
  Spaces: unary((request) => (checkName(request.environment), CartPole.spaces)),
  Open: unary(open),
  Close: unary(close),
  Reset: hot('reset'),
  Step: hot('step'),
  Resume: unary(absent),
  KeepAlive: unary(absent),
  Render: unary(absent),
  Exchange: exchange,
});

server.bindAsync(`127.0.0.1:${process.argv[2] || 0}`, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`serving grpc://127.0.0.1:${port}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
