export { type Adaptive, type AdaptiveOptions, adaptive } from './adaptive.ts'
export { consumerLag, type ErrorRate, errorRate, queueDepth } from './app-signals.ts'
export {
  BEHAVIOUR_FACTORS,
  type Behaviour,
  type BehaviourLevel,
  type BehaviourOptions,
  behaviour,
} from './behaviour.ts'
export { type AimdOptions, aimd, type GradientOptions, gradient } from './control-laws.ts'
export {
  type BreakerOptions,
  type CircuitBreaker,
  type CircuitState,
  circuitBreaker,
} from './handler-breaker.ts'
export type { LoadReport } from './monitor.ts'
export type { LevelWords, StageWords } from './parse-levels.ts'
export { COUNTING_SIGNALS, SIGNAL_NAMES, type SignalName, type SignalWord } from './parse-signal.ts'
export type { Feedback, FeedbackOptions } from './rate-controller.ts'
export type { Signal } from './signal.ts'
