/** Logger interface; pino implements it. Nothing is logged by default. */
export interface Logger {
  debug(context: object, text?: string): void
  info(context: object, text?: string): void
  warn(context: object, text?: string): void
  error(context: object, text?: string): void
}

function ignore(): void {}

export const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }
