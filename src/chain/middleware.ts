import type { Decision } from '../decision.ts'
import type { MaybePromise, Message } from '../message.ts'

/** Asks the rest of the chain; asking twice gives the first answer again. */
export type Next = () => MaybePromise<Decision>

/** One station of the chain: answers itself, or passes on to `next` and may change its answer. */
export type Middleware = (message: Message, next: Next) => MaybePromise<Decision>
