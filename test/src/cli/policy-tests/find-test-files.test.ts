import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { findTestFiles } from '../../../../src/cli/policy-tests/find-test-files.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const TESTS = 'policy: fleet\ntests: [{ name: a, steps: [{ send: { topic: a }, expect: { allowed: 1 } }] }]\n'

it('a folder has the files of tests in it and below, in order', async () => {
  using folder = new Folder()
  for (const name of ['sub', '.hidden', 'node_modules', 'empty'])
    mkdirSync(join(folder.path, name, 'deep'), { recursive: true })
  const tests = ['b.test.yaml', 'a.test.yml', 'c.test.json', 'sub/deep/d.test.yaml']
  for (const name of [
    ...tests,
    'policy.yaml',
    'test.yaml',
    '.hidden/e.test.yaml',
    'node_modules/f.test.yaml',
  ])
    folder.file(name, TESTS)
  const found = await findTestFiles([folder.path])
  expect(found.map(file => file.slice(folder.path.length + 1))).toEqual([
    'a.test.yml',
    'b.test.yaml',
    'c.test.json',
    'sub/deep/d.test.yaml',
  ])
  expect(await findTestFiles([found[1]!, folder.path])).toHaveLength(4)
  const { exitCode, out } = await runCommand(['test', join(folder.path, 'sub')])
  expect([exitCode, out]).toEqual([0, expect.stringContaining('1 passed, 0 failed')])
})

it('a folder without any is reported, and a missing file when it is read', async () => {
  using folder = new Folder()
  folder.file('policy.yaml', '')
  const { exitCode, err } = await runCommand(['test', folder.path])
  expect([exitCode, err]).toEqual([
    1,
    `error: ${folder.path}: there is no file of tests in this folder (name a file of tests, or let its name end in .test.yaml)\n`,
  ])
  expect(await findTestFiles(['none.test.yaml'])).toEqual(['none.test.yaml'])
})
