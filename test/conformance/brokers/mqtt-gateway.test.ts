import { brokerConformance } from './broker-suite.ts'
import { mqttGatewayDeliveryDriver, mqttGatewayDriver } from './drivers/mqtt-gateway.ts'

brokerConformance('MQTT gateway, MQTT 3.1.1', mqttGatewayDriver(4))
brokerConformance('MQTT gateway, MQTT 5', mqttGatewayDriver(5))
brokerConformance('MQTT gateway deliveries, MQTT 5', mqttGatewayDeliveryDriver(5))
