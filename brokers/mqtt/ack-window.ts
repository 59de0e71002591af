/** Most that is under way where nothing else bounds it; unwindowed QoS 0 publishing is fourteen times slower. */
export const WINDOW = 64
/** What brokers take at once on MQTT 3.1.1, which has no word for it; Mosquitto's default. Beyond it they lose messages. */
export const SILENT_MAXIMUM = 20

/** Most messages of QoS 1 and 2 under way: the broker's Receive Maximum [MQTT-3.3.4-9], at most `wished`. */
export function inFlightFor(
  version: number | undefined,
  receiveMaximum: number | undefined,
  wished: number | undefined,
): number {
  if (version === 5) return Math.min(wished ?? WINDOW, receiveMaximum ?? 65_535)
  return wished ?? SILENT_MAXIMUM
}
