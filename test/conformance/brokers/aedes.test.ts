import { aedesDeliveryDriver, aedesDriver } from '../broker-aedes.ts'
import { brokerConformance } from '../broker-suite.ts'

brokerConformance('aedes, MQTT 3.1.1', aedesDriver)
brokerConformance('aedes deliveries, MQTT 3.1.1', aedesDeliveryDriver)
