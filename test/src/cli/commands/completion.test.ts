import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'

/** Returns what bash would offer for the last of some words. */
async function completeInBash(...words: string[]): Promise<string[]> {
  const { out } = await runCommand(['completion', 'bash'])
  const list = words.map(word => `'${word}'`).join(' ')
  const program = `${out}\nCOMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _topicgate; printf '%s\\n' "\${COMPREPLY[@]}"`
  return spawnSync('bash', ['-c', program], { encoding: 'utf8' }).stdout.trim().split('\n')
}

it('bash completes commands and their options', async () => {
  expect(await completeInBash('topicgate', 'val')).toEqual(['validate'])
  expect(await completeInBash('topicgate', 'validate', '--s')).toContain('--schema')
})

it('bash completes the commands of a command', async () => {
  expect(await completeInBash('topicgate', 'override', '')).toEqual(['set', 'ls', 'rm'])
  expect(await completeInBash('topicgate', 'override', 'set', '--li')).toEqual(['--limit'])
})

it('zsh and fish name every command', async () => {
  for (const shell of ['zsh', 'fish']) {
    const { exitCode, out } = await runCommand(['completion', shell])
    expect(exitCode).toBe(0)
    for (const name of ['broker', 'demo', 'validate', 'explain', 'replay', 'bench', 'init', 'rollback']) {
      expect(out).toContain(name)
    }
  }
})

it('another shell is refused with those there are', async () => {
  const { exitCode, err } = await runCommand(['completion', 'csh'])
  expect(exitCode).toBe(2)
  expect(err).toContain('bash, zsh, fish')
})
