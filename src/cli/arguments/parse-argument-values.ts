import { isIP } from 'node:net'
import { InvalidArgumentError } from 'commander'
import { PolicyError } from '../../core/errors.ts'
import { parseBytes, parseDuration, parseMoment, parsePercent } from '../../core/units.ts'
import { MAX_ITERATIONS } from '../../mqtt-auth/password-hash.ts'
import { sanitizeForTerminal } from '../terminal/format.ts'

/** Parses a load such as `80%` or `0.8`. */
export function parseLoadArgument(text: string): number {
  const [, digits, percent] = /^(\d{1,3}(?:\.\d{1,6})?)(%?)$/.exec(text.trim()) ?? []
  const load = Number(digits) / (percent === '%' ? 100 : 1)
  if (load >= 0 && load <= 1) return load
  throw new InvalidArgumentError('Write a load from 0 to 1, as 80% or 0.8.')
}

/** Collects an option that may be given several times. */
export function appendOptionValue(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

/** Parses an IP address, v4 or v6. */
export function parseIpArgument(text: string): string {
  if (isIP(text) !== 0) return text
  throw new InvalidArgumentError('Write an IP address, as 192.0.2.1 or 2001:db8::1.')
}

/** Parses a payload: JSON or plain text. Rejects text that begins like JSON but is invalid. */
export function parsePayloadArgument(text: string): string {
  if (!/^\s*[{["]/.test(text)) return text
  try {
    JSON.parse(text)
    return text
  } catch (error) {
    throw new InvalidArgumentError(
      `It is not JSON: ${sanitizeForTerminal((error as Error).message)}. Write '{"units":3}'.`,
    )
  }
}

/** Parses a TCP port; 0 lets the system choose. */
export function parsePort(text: string): number {
  return parseWhole(text, 65_535, 'a port, as 1883, or 0 for a free one')
}

/** Parses a share such as `5%` to a fraction above 0 and up to 1. */
export function parsePercentArgument(text: string): number {
  return orInvalid(() => parsePercent(text))
}

/** Parses a duration such as `10s` to whole milliseconds. */
export function parseDurationArgument(text: string): number {
  return orInvalid(() => parseDuration(text))
}

/** Parses a size such as `120` or `10kB` to whole bytes. */
export function parseBytesArgument(text: string): number {
  return orInvalid(() => parseBytes(/^\d+$/.test(text) ? Number(text) : text))
}

/** Parses a maximum packet size, up to the 256 MB of MQTT. */
export function parsePacketBytes(text: string): number {
  const bytes = parseBytesArgument(text)
  if (bytes >= MIN_PACKET_BOUND && bytes <= 268_435_460) return bytes
  throw new InvalidArgumentError(`Write a size from ${MIN_PACKET_BOUND} bytes to 256 MB, as 64kB.`)
}

/** A smaller limit would refuse even a usual CONNECT. */
const MIN_PACKET_BOUND = 256

/** Parses the number of senders of a benchmark: 1 to a million. */
export function parseSenderCount(text: string): number {
  const remedy = 'a whole number of senders, 1 to 1000000'
  return parsePositive(text, 1_000_000, remedy)
}

/** Parses a number of items: 1 to 2^31. */
export function parseCount(text: string): number {
  const remedy = 'a whole number from 1 to 2147483648'
  return parsePositive(text, 2_147_483_648, remedy)
}

/** Parses a number of messages in flight, up to the 65,535 packet ids of MQTT. */
export function parseWindow(text: string): number {
  const remedy = 'a whole number of messages, 1 to 65535'
  return parsePositive(text, 65_535, remedy)
}

/** Parses a quantile in percent, such as `99.9`, to a fraction. */
export function parseQuantile(text: string): number {
  const percent = Number(/^(\d{1,3}(?:\.\d{1,6})?)%?$/.exec(text.trim())?.[1])
  if (percent >= 50 && percent <= 100) return percent / 100
  throw new InvalidArgumentError('Write a share from 50 to 100, as 99.9.')
}

/** Parses the seed of a random generator. */
export function parseSeed(text: string): number {
  return parseWhole(text, 4_294_967_295, 'a whole number from 0 to 4294967295')
}

/** Parses the number of processes that serve clients. */
export function parseWorkers(text: string): number {
  return parsePositive(text, 256, 'a whole number of processes, 1 to 256')
}

/** Parses the rounds of a password hash. */
export function parseIterations(text: string): number {
  const remedy = `a whole number of rounds, 1 to ${MAX_ITERATIONS}`
  return parsePositive(text, MAX_ITERATIONS, remedy)
}

export function parseQosArgument(text: string): 0 | 1 | 2 {
  return parseWhole(text, 2, '0, 1 or 2') as 0 | 1 | 2
}

/** Parses a date or a moment with its zone, or milliseconds since the epoch. */
export function parseTime(text: string): number {
  try {
    return /^\d{1,15}$/.test(text) ? Number(text) : parseMoment(text)
  } catch {
    throw new InvalidArgumentError('Write a moment as 2026-01-31T12:00:00Z, or milliseconds since 1970.')
  }
}

/** Adds `name=value` to the headers given before; a repeated name has several values. */
export function parseHeaderArgument(
  text: string,
  before: Readonly<Record<string, readonly string[]>> = {},
): Readonly<Record<string, readonly string[]>> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Write a header as name=value.')
  const [name, value] = [text.slice(0, at), text.slice(at + 1)]
  const values = Object.hasOwn(before, name) ? before[name]! : []
  return Object.fromEntries([...Object.entries(before), [name, [...values, value]]])
}

function parsePositive(text: string, most: number, remedy: string): number {
  const count = parseWhole(text, most, remedy)
  if (count > 0) return count
  throw new InvalidArgumentError(`Write ${remedy}.`)
}

function parseWhole(text: string, most: number, remedy: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value <= most) return value
  throw new InvalidArgumentError(`Write ${remedy}.`)
}

function orInvalid<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    const [problem] = error.problems
    throw new InvalidArgumentError(`${problem?.message ?? ''} (${problem?.remedy ?? ''}).`)
  }
}
