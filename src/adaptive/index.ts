export { consumerLag, type ErrorRate, errorRate, queueDepth } from './app-signals.ts'
export {
  BEHAVIOUR_FACTORS,
  type BehaviourLevel,
  type BehaviourLimiter,
  type BehaviourScalerOptions,
  behaviour,
} from './behaviour-limiter.ts'
export { type AimdOptions, aimd, type GradientOptions, gradient } from './control-laws.ts'
export { type Adaptive, type AdaptiveOptions, adaptive } from './create-adaptive-middleware.ts'
export {
  type CircuitBreaker,
  type CircuitState,
  circuitBreaker,
  type HandlerBreakerOptions,
} from './handler-breaker.ts'
export type { LoadReport } from './load-monitor.ts'
export type { LoadLevelFactors, LoadStageFactors } from './parse-levels.ts'
export type { FeedbackLimiter, FeedbackLimiterOptions } from './rate-controller.ts'
export { MESSAGE_COUNT_SIGNALS, SIGNAL_NAMES, type SignalName, type SignalWord } from './resolve-signal.ts'
export type { Signal } from './signal-types.ts'
