import { type ChildProcess, fork, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Flood {
  readonly port: number
  readonly clients: number
  readonly topic: string
  readonly payloadBytes: number
  readonly qos: 0 | 1
  /** Messages of each client; 0 goes on until it is ended. */
  readonly count: number
}

/** Floods from a process of its own. */
export function startFlood(flood: Flood): { readonly child: ChildProcess; end(): Promise<void> } {
  const child = fork(fileURLToPath(new URL('./aedes-flooder.js', import.meta.url)), [JSON.stringify(flood)], {
    execArgv: [],
  })
  return { child, end: () => endChild(child) }
}

/** Floods `count` numbered lines with mosquitto_pub, where that is installed. */
export function startMosquittoFlood(
  flood: Flood,
): { readonly child: ChildProcess; end(): Promise<void> } | undefined {
  const program = findProgram('mosquitto_pub')
  if (program === undefined) return undefined
  const child = spawn(
    program,
    [
      ...['-h', '127.0.0.1', '-p', String(flood.port), '-i', 'flood-0'],
      ...['-t', `${flood.topic}/0`, '-q', String(flood.qos), '-l'],
    ],
    { stdio: ['pipe', 'ignore', 'ignore'] },
  )
  child.stdin?.on('error', () => {})
  child.stdin?.end(Array.from({ length: flood.count }, (_, i) => `${i + 1}\n`).join(''))
  return { child, end: () => endChild(child) }
}

export function mosquittoInstalled(): boolean {
  return findProgram('mosquitto_pub') !== undefined
}

function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise(resolve => {
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}

function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin']
  return folders
    .map(folder => join(folder, name))
    .find(path => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}
