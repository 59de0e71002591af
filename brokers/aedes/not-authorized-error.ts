/**
 * Error that your own `authorizePublish` passes to its callback to refuse a message and keep the connection: the message
 * is acknowledged and discarded, and counts as a refusal of the client but not for any rule. Other errors close the
 * connection. One instance may serve for all messages.
 */
export class NotAuthorizedError extends Error {
  override readonly name = 'NotAuthorizedError'
  readonly code = 'TOPICGATE_NOT_AUTHORIZED'

  constructor(message = 'not authorized') {
    super(message)
  }
}
