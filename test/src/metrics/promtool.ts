import { spawnSync } from 'node:child_process'
import { findBinary } from '../../support/server.ts'

/** Runs promtool of Prometheus; returns its output and whether it succeeded. */
export function promtool(
  args: readonly string[],
  input = '',
): { readonly fine: boolean; readonly said: string } {
  const binary = findBinary({ program: 'promtool', variable: 'TOPICGATE_PROMTOOL' })
  const { status, stdout, stderr } = spawnSync(binary, args, { input, encoding: 'utf8' })
  return { fine: status === 0, said: stdout + stderr }
}
