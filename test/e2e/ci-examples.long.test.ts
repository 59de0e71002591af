import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt, ROOT } from '../support/built.ts'

beforeAll(ensureBuilt, 120_000)

interface Run {
  readonly status: number | null
  readonly output: string
}

interface Pipeline {
  readonly file: string
  /** Variables that the CI server sets. */
  readonly env: Readonly<Record<string, string>>
  /** Shell commands, in order. */
  readonly script: readonly string[]
}

function readExample(file: string): unknown {
  return parse(readFileSync(join(ROOT, 'examples/ci', file), 'utf8'))
}

const github = readExample('github-actions.yaml') as {
  readonly jobs: { readonly policy: { readonly steps: readonly { readonly run?: string }[] } }
}
const gitlab = readExample('gitlab-ci.yaml') as { readonly policy: { readonly script: readonly string[] } }

const PIPELINES: readonly Pipeline[] = [
  {
    file: 'github-actions.yaml',
    env: { GITHUB_BASE_REF: 'main' },
    script: github.jobs.policy.steps.flatMap(({ run }) => run ?? []),
  },
  {
    file: 'gitlab-ci.yaml',
    env: { CI_MERGE_REQUEST_TARGET_BRANCH_NAME: 'main' },
    script: gitlab.policy.script,
  },
]

const policyWith = (limit: string): string =>
  `rules: [{ name: telemetry, topic: "fleet/#", per: client, limit: ${limit}, exceeded: drop }]\n`
const TESTS =
  'policy: policy.yaml\ntests: [{ name: one passes, steps: [{ send: { topic: fleet/a, client: c }, expect: { allowed: 1 } }] }]\n'
const CAPTURE = Array.from({ length: 10 }, (_, n) => `{"at":${n},"topic":"fleet/a","client":"c"}\n`).join('')

/** Runs the commands of a pipeline in a clone of a repository whose policy was changed. */
function runPipeline({ env, script }: Pipeline, folder: Folder, limit: string): readonly Run[] {
  const origin = join(folder.path, 'origin')
  const clone = join(folder.path, 'clone')
  const bin = join(folder.path, 'bin')
  mkdirSync(join(origin, 'policies'), { recursive: true })
  mkdirSync(bin)
  folder.file('origin/policies/policy.yaml', policyWith('20/s'))
  folder.file('origin/policies/policy.test.yaml', TESTS)
  folder.file('origin/policies/capture.jsonl', CAPTURE)
  chmodSync(folder.file('bin/topicgate', `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`), 0o755)
  const shell = (command: string, cwd: string): Run => {
    const path = `${bin}:${process.env.PATH ?? ''}`
    const options = {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, ...env, PATH: path, NO_COLOR: '1' },
    } as const
    const { status, stdout, stderr } = spawnSync('/bin/sh', ['-ec', command], options)
    return { status, output: stdout + stderr }
  }
  const author = '-c user.name=t -c user.email=t@example.com'
  const setUp = `git init -q -b main && git add . && git ${author} commit -qm first && git clone -q . '${clone}'`
  expect(shell(setUp, origin)).toEqual({ status: 0, output: '' })
  cpSync(join(origin, 'policies'), join(clone, 'policies'), { recursive: true })
  folder.file('clone/policies/policy.yaml', policyWith(limit))
  const runs: Run[] = []
  for (const command of script.filter(each => !each.startsWith('npm install'))) {
    runs.push(shell(command, clone))
    if (runs.at(-1)?.status !== 0) break
  }
  return runs
}

describe.each(PIPELINES)('examples/ci/$file', pipeline => {
  it('installs topicgate and uses validate, test and diff', () => {
    const text = pipeline.script.join('\n')
    expect(pipeline.script[0]).toBe('npm install --global topicgate')
    for (const command of ['validate', 'test', 'diff']) expect(text).toContain(`topicgate ${command} `)
  })

  it('passes for a change that refuses nothing more', () => {
    using folder = new Folder()
    const runs = runPipeline(pipeline, folder, '30/s')
    expect(runs.filter(({ status }) => status !== 0)).toEqual([])
    expect(runs.at(-1)?.output).toContain('~ rule telemetry: limit 20/s → 30/s')
    expect(existsSync(join(folder.path, 'clone/policy-tests.xml'))).toBe(true)
  })

  it('fails for a change that refuses more of the recorded traffic', () => {
    using folder = new Folder()
    const last = runPipeline(pipeline, folder, '5/s').at(-1)
    expect(last?.status).toBe(1)
    expect(last?.output).toContain('5 newly refused (50.0 %)')
    expect(last?.output).toContain('failed: newly-refused > 0.1%')
  })
})
