import type { Decision } from './decision.ts'
import type { MaybePromise, Message } from './message.ts'

export type Next = () => MaybePromise<Decision>
export type Middleware = (message: Message, next: Next) => MaybePromise<Decision>
