import { GENERATIONS } from '../../brokers/nats/client-versions.ts'
import { brokerConformance } from './broker-suite.ts'
import { natsGatewayDeliveryDriver, natsGatewayDriver } from './drivers/nats-gateway.ts'

const newest = GENERATIONS.at(-1)!

brokerConformance('NATS gateway', natsGatewayDriver(newest))
brokerConformance('NATS gateway deliveries', natsGatewayDeliveryDriver(newest))
