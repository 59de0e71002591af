import { GENERATIONS } from '../../brokers/nats/client-versions.ts'
import { natsDriver } from '../broker-nats.ts'
import { brokerConformance } from '../broker-suite.ts'

const [second, third] = GENERATIONS

brokerConformance('NATS, nats 2', natsDriver(second!))
brokerConformance('NATS, @nats-io 3', natsDriver(third!))
