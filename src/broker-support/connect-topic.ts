/** Topic of a connect, which has none of its own: rules for connects match every topic or this one. */
export const CONNECT_TOPIC = 'connect'
