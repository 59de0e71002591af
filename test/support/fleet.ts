import { expect } from 'vitest'
import type { GroupCount } from '../../src/cli/simulation/group-counts.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { CLI } from './built.ts'
import { startNode } from './program.ts'

/** A fleet that runs in a process of its own. */
export interface RunningFleet extends AsyncDisposable {
  /** Ends it, and returns the counts of its groups. Fails if one is not delivered as it expects. */
  end(): Promise<readonly GroupCount[]>
}

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
  return readGroups(out)
}

/** Starts a simulated fleet, a file in YAML, against a broker. */
export function startFleet(fleet: string, url: string): RunningFleet {
  const folder = new Folder()
  const program = startNode([CLI, 'simulate', folder.file('fleet.yaml', fleet), '--broker', url, '--json'])
  return {
    end: async () => {
      program.signal('SIGINT')
      const { code, stdout, stderr } = await program.ended
      expect([code, stderr]).toEqual([0, ''])
      return readGroups(stdout)
    },
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

function readGroups(json: string): readonly GroupCount[] {
  const { groups } = JSON.parse(json) as { readonly groups: readonly GroupCount[] }
  return groups
}
