// CartPole in JavaScript: the equations of Barto, Sutton and Anderson (1983) as Gymnasium documents them, Euler steps.
'use strict';

const GRAVITY = 9.8, CART = 1.0, POLE = 0.1, HALF_LENGTH = 0.5, FORCE = 10.0, DT = 0.02;
const MAX_X = 2.4, MAX_ANGLE = (12 * 2 * Math.PI) / 360, MAX_STEPS = 500;

// A small seeded generator of numbers in [0, 1) (mulberry32): JavaScript's own cannot be seeded.
function generator(seed) {
  let state = Number(BigInt.asUintN(32, seed ^ (seed >> 32n))); // all 64 bits of a seed count
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const entropy = () => BigInt(Math.floor(Math.random() * 2 ** 48));

class CartPole {
  constructor() {
    this.random = generator(entropy());
    this.state = [0, 0, 0, 0];
  }

  // With a seed (a BigInt, 0n too) the random numbers begin anew; without one (undefined) they go on.
  reset(seed) {
    if (seed !== undefined) this.random = generator(seed);
    this.state = [0, 0, 0, 0].map(() => this.random() * 0.1 - 0.05);
    this.steps = 0;
    return this.observation();
  }

  step(action) {
    let [x, v, angle, turning] = this.state;
    const force = action === 1 ? FORCE : -FORCE;
    const cos = Math.cos(angle), sin = Math.sin(angle), total = CART + POLE;
    const push = (force + POLE * HALF_LENGTH * turning * turning * sin) / total;
    const turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - (POLE * cos * cos) / total));
    const move = push - (POLE * HALF_LENGTH * turn * cos) / total;
    this.state = [x + DT * v, v + DT * move, angle + DT * turning, turning + DT * turn];
    [x, , angle] = this.state;
    this.steps += 1;
    return {
      observation: this.observation(),
      reward: 1,
      terminated: Math.abs(x) > MAX_X || Math.abs(angle) > MAX_ANGLE, // the pole fell, or the cart left
      truncated: this.steps >= MAX_STEPS, // the time was up: not the same thing
    };
  }

  observation() {
    return floats32(this.state);
  }
}

function floats32(values) {
  const block = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => block.writeFloatLE(value, 4 * i));
  return block;
}

const HIGH = [2 * MAX_X, Infinity, 2 * MAX_ANGLE, Infinity];
const BOUNDED = Buffer.from([1, 0, 1, 0]);
const int64 = (value) => {
  const block = Buffer.alloc(8);
  block.writeBigInt64LE(BigInt(value));
  return block;
};

// What Open and Spaces tell: the spaces, and how their leaves (one each) are laid out in bytes.
CartPole.spaces = {
  observation_space: {
    box: {
      data_type: 'DATA_TYPE_FLOAT32',
      shape: [4],
      low: floats32(HIGH.map((value) => -value)),
      high: floats32(HIGH),
      bounded_below: BOUNDED,
      bounded_above: BOUNDED,
    },
  },
  action_space: { discrete: { data_type: 'DATA_TYPE_INT64', n: 2, start: 0 } },
  observation_layout: [{ path: '', data_type: 'DATA_TYPE_FLOAT32', shape: [4] }],
  action_layout: [{ path: '', data_type: 'DATA_TYPE_INT64', shape: [] }],
};
CartPole.actions = [int64(0), int64(1)];

module.exports = { CartPole };
