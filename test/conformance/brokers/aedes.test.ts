import { brokerConformance } from './broker-suite.ts'
import { aedesDeliveryDriver, aedesDriver } from './drivers/aedes.ts'

brokerConformance('aedes, MQTT 3.1.1', aedesDriver)
brokerConformance('aedes deliveries, MQTT 3.1.1', aedesDeliveryDriver)
