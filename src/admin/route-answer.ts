/** Answer of a route: a JSON body, or a response of another kind. */
export type RouteAnswer =
  | Response
  | {
      readonly status?: number | undefined
      readonly body?: object | undefined
      readonly headers?: Readonly<Record<string, string>> | undefined
    }
