import { mqttDriver } from '../broker-mqtt.ts'
import { brokerConformance } from '../broker-suite.ts'

brokerConformance('MQTT.js consumer, MQTT 3.1.1', mqttDriver(4))
brokerConformance('MQTT.js consumer, MQTT 5', mqttDriver(5))
