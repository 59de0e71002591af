import { brokerConformance } from './broker-suite.ts'
import { mqttDriver } from './drivers/mqtt.ts'

brokerConformance('MQTT.js consumer, MQTT 3.1.1', mqttDriver(4))
brokerConformance('MQTT.js consumer, MQTT 5', mqttDriver(5))
