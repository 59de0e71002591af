// Preloaded into each process of aedes' own tests: attaches a limiter to every broker that starts to listen.
// AEDES_SUITE_POLICY: the policy as JSON; empty for a gate without rules. AEDES_SUITE_LOG: gets a line for each broker.
import { appendFileSync } from 'node:fs'
import { Aedes } from 'aedes'
import { limitBroker } from '../../dist/brokers/aedes/index.js'
import { Gate } from '../../dist/src/index.js'

const policy = process.env.AEDES_SUITE_POLICY
const { listen } = Aedes.prototype

Aedes.prototype.listen = async function () {
  // Made before: aedes' heartbeats run from listen() on, and its tests count from there.
  const gate = policy ? await Gate.fromPolicy(policy) : new Gate()
  await listen.call(this)
  limitBroker(this, gate)
  appendFileSync(process.env.AEDES_SUITE_LOG, 'attached\n')
  this.once('closed', () => void gate.close())
}
