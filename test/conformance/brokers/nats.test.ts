import { GENERATIONS } from '../../brokers/nats/client-versions.ts'
import { brokerConformance } from './broker-suite.ts'
import { natsDriver } from './drivers/nats.ts'

const [second, third] = GENERATIONS

brokerConformance('NATS, nats 2', natsDriver(second!))
brokerConformance('NATS, @nats-io 3', natsDriver(third!))
