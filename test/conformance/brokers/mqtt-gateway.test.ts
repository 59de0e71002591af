import { gatewayDeliveryDriver, gatewayDriver } from '../broker-gateway.ts'
import { brokerConformance } from '../broker-suite.ts'

brokerConformance('MQTT gateway, MQTT 3.1.1', gatewayDriver(4))
brokerConformance('MQTT gateway, MQTT 5', gatewayDriver(5))
brokerConformance('MQTT gateway deliveries, MQTT 5', gatewayDeliveryDriver(5))
