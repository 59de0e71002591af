import { stat } from 'node:fs/promises'
import { PolicyError, type Problem } from '../../core/errors.ts'
import { packageFile } from '../../core/package-files.ts'
import { loadDocument } from '../../policy/index.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { FLEET_FORMAT, type FleetDocument, type FleetGroup } from './fleet-format.ts'
import { READY_FLEETS } from './ready-fleets.ts'

/** Maximum topics of a group: of all its devices. */
const MAX_GROUP_TOPICS = 2_000_000

/** Words of a group that describe its messages. */
const MESSAGE_WORDS = ['topic', 'topics', 'values', 'qos', 'retain', 'size', 'duplicate', 'expect'] as const

/** Returns the given file, or that of a ready fleet. Rejects with PolicyError if there is none. */
export async function resolveFleetFile(given: string): Promise<string> {
  const found = await stat(given).catch(() => undefined)
  if (found?.isFile()) return given
  if (READY_FLEETS.includes(given)) return packageFile(`config/fleets/${given}.yaml`)
  throw new PolicyError([
    {
      file: given,
      message: found ? 'this is a folder' : 'there is no such file',
      remedy: `name a fleet file, as my.fleet.yaml, or a ready fleet: ${READY_FLEETS.join(', ')}`,
    },
  ])
}

/** Loads a fleet. Rejects with PolicyError that lists all problems, each with position and remedy. */
export async function loadFleet(file: string, env: Terminal['env']): Promise<FleetDocument> {
  const { value, locate } = await loadDocument(file, FLEET_FORMAT, env)
  const problems = value.fleet.flatMap((group, index) => findGroupProblems(group, `fleet[${index}]`))
  const names = value.fleet.map(({ name }) => name)
  names.forEach((name, index) => {
    if (names.indexOf(name) === index) return
    problems.push({
      path: `fleet[${index}].name`,
      message: `there is another group named "${name}"`,
      remedy: 'give it a name of its own',
    })
  })
  if (problems.length === 0) return value
  throw new PolicyError(problems.map(problem => ({ ...locate(problem.path ?? '', 'key'), ...problem })))
}

function findMissingWords(group: FleetGroup, path: string): readonly Problem[] {
  const { topic, send, connects } = group
  if (send !== undefined) {
    if (connects?.slow !== undefined) {
      return [
        {
          path: `${path}.connects.slow`,
          message: 'a device that is slow to connect sends nothing',
          remedy: 'remove slow or send, or make two groups of it',
        },
      ]
    }
    if (topic !== undefined) return []
    return [
      {
        path,
        message: 'the group sends messages without a topic',
        remedy: 'write topic: fleet/a/{client}/telemetry',
      },
    ]
  }
  if (connects === undefined) {
    return [
      {
        path,
        message: 'the group neither sends nor connects',
        remedy: 'write send: { every: 10s }, or connects: { every: 200ms }',
      },
    ]
  }
  return MESSAGE_WORDS.filter(word => group[word] !== undefined).map(word => ({
    path: `${path}.${word}`,
    message: 'the group sends no messages',
    remedy: `add send: { every: 10s }, or remove ${word}`,
  }))
}

function findGroupProblems(group: FleetGroup, path: string): readonly Problem[] {
  const { topic = '', topics = 1, count = 1, values = {}, from, until, faults = [] } = group
  const problems: Problem[] = [...findMissingWords(group, path)]
  const known = ['n', 'name', 'client', 'topic', ...Object.keys(values)]
  const unknown = [...topic.matchAll(/\{([^{}]*)\}/g)]
    .map(([, word]) => word!)
    .find(word => !known.includes(word))
  if (unknown !== undefined) {
    problems.push({
      path: `${path}.topic`,
      message: `{${unknown}} is unknown`,
      remedy: `use ${known.map(word => `{${word}}`).join(', ')}, or add values: { ${unknown}: [a, b] }`,
    })
  }
  if (count * topics > MAX_GROUP_TOPICS) {
    problems.push({
      path: `${path}.topics`,
      message: `${count} devices with ${topics} topics each are too many`,
      remedy: `use at most ${MAX_GROUP_TOPICS} in all`,
    })
  }
  if (from !== undefined && until !== undefined && until <= from) {
    problems.push({
      path: `${path}.until`,
      message: 'the group ends before it begins',
      remedy: 'make it later than from',
    })
  }
  if (group.ignores?.includes('puback') && (group.qos ?? 0) === 0) {
    problems.push({
      path: `${path}.ignores`,
      message: 'messages of QoS 0 have no puback',
      remedy: 'write qos: 1, or remove puback',
    })
  }
  faults.forEach(({ at, every }, index) => {
    if (at !== undefined || every !== undefined) return
    problems.push({
      path: `${path}.faults[${index}]`,
      message: 'the fault has no time',
      remedy: 'write at: 2m, or every: 6h',
    })
  })
  return problems
}
