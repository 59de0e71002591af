import { expect } from 'vitest'
import type { GroupCount } from '../../src/cli/simulation/group-counts.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'

/**
 * Runs a simulated fleet, a file in YAML, against a broker until its end. Returns the counts of its groups. Fails if one is
 * not delivered as it expects.
 */
export async function runFleet(
  fleet: string,
  url: string,
  ...args: readonly string[]
): Promise<readonly GroupCount[]> {
  using folder = new Folder()
  const file = folder.file('fleet.yaml', fleet)
  const { exitCode, out, err } = await runCommand(['simulate', file, '--broker', url, '--json', ...args])
  expect([exitCode, err]).toEqual([0, ''])
  const { groups } = JSON.parse(out) as { readonly groups: readonly GroupCount[] }
  return groups
}
