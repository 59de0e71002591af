import { aedesDriver } from '../broker-aedes.ts'
import { brokerConformance } from '../broker-suite.ts'

brokerConformance('aedes, MQTT 3.1.1', aedesDriver)
