import { GENERATIONS } from '../../brokers/nats/client-versions.ts'
import { natsGatewayDeliveryDriver, natsGatewayDriver } from '../broker-nats-gateway.ts'
import { brokerConformance } from '../broker-suite.ts'

const newest = GENERATIONS.at(-1)!

brokerConformance('NATS gateway', natsGatewayDriver(newest))
brokerConformance('NATS gateway deliveries', natsGatewayDeliveryDriver(newest))
