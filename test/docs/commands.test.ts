import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CLI, ensureBuilt, ROOT } from '../support/built.ts'
import { type Block, blocksOf, PAGES, placeOf } from './pages.ts'

/*
 * Each line `npx topicgate …` of a block of `sh` is run, in a folder that holds config/ and the files of its page: the
 * blocks whose second word is a file name. `exit=1` is the exit code to expect; `serve` waits for "ready" and ends the
 * command. A block of `text` right behind is the output, to the letter; of `text sample` up to its numbers.
 */

interface Line {
  readonly place: string
  readonly command: string
  readonly exit: number
  readonly serves: boolean
  readonly files: readonly Block[]
}

interface Group {
  readonly place: string
  readonly lines: readonly Line[]
  readonly expected: string | undefined
  readonly sample: boolean
}

const groups: readonly Group[] = PAGES.flatMap(page => {
  const blocks = blocksOf(page)
  const files = blocks.filter(({ words }) => words.some(word => word.includes('.')))
  return blocks.flatMap((block, index) => {
    if (block.language !== 'sh') return []
    const lines = block.text
      .replaceAll('\\\n', ' ')
      .split('\n')
      .filter(line => line.includes('npx topicgate'))
      .map(command => ({
        place: placeOf(block),
        command: withinTheTest(command.replace(/^.*?(?=npx topicgate)/, '').replace(/\s+#.*$/, '')),
        exit: Number(block.words.find(word => word.startsWith('exit='))?.slice('exit='.length) ?? 0),
        serves: block.words.includes('serve'),
        files,
      }))
    const next = blocks[index + 1]
    const output = next?.language === 'text' && isRightBehind(block, next) ? next : undefined
    const sample = output?.words.includes('sample') ?? false
    return lines.length === 0 ? [] : [{ place: placeOf(block), lines, expected: output?.text, sample }]
  })
})

/** Ports are free ones, an endless command gets an end, and a benchmark measures for a moment only. */
function withinTheTest(command: string): string {
  const isEndless = /topicgate demo(?!.*--(?:for|attack))/.test(command)
  return `${command}${isEndless ? ' --for 3s' : ''}`
    .replaceAll(/(--port|--ws) \d+/g, '$1 0')
    .replace(/(?<=topicgate bench .*--for) 1s/, ' 60ms')
}

function isRightBehind(block: Block, next: Block): boolean {
  return next.line === block.line + block.text.split('\n').length + 2
}

let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-docs-'))
  symlinkSync(join(ROOT, 'config'), join(folder, 'config'))
  await ensureBuilt()
}, 120_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const outputs = new Map<string, Promise<string>>()

/** Runs a line once, also if several pages show it. */
function run(line: Line): Promise<string> {
  const { command, serves, files } = line
  const read = files.filter(({ words }) => command.includes(words[0]!))
  const id = JSON.stringify([command, serves, read.map(({ text }) => text)])
  const output = outputs.get(id) ?? runOnce(line)
  outputs.set(id, output)
  return output
}

/** Runs a line in a shell, as a reader would. */
async function runOnce({ command, serves, exit, files }: Line): Promise<string> {
  for (const { words, text } of files) writeFileSync(join(folder, words[0]!), text)
  const line = command.replace('npx topicgate', `exec '${process.execPath}' '${CLI}'`)
  const env = { ...process.env, NO_COLOR: '1' }
  const child = spawn('/bin/sh', ['-c', line], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const patience = setTimeout(() => child.kill('SIGKILL'), 120_000)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    const wasReady = stdout.includes('ready')
    stdout += chunk
    // Once: a second signal would end it at once.
    if (serves && !wasReady && stdout.includes('ready')) child.kill('SIGTERM')
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const code = await new Promise(resolve => child.once('close', resolve))
  clearTimeout(patience)
  expect({ code, stderr: exit === 0 ? stderr : '' }).toEqual({ code: exit, stderr: '' })
  return stdout + stderr
}

/** Its lines, each once, with all numbers alike and columns closed up. */
function shapeOf(text: string): readonly string[] {
  const lines = text
    .trimEnd()
    .split('\n')
    .map(line => line.replaceAll(/\d[\d,.]*/g, '#').replaceAll(/ +/g, ' '))
  return [...new Set(lines)].sort()
}

describe('commands on the pages', () => {
  it('are there, of each kind', () => {
    const said = groups.flatMap(({ lines }) => lines.map(({ command }) => command.split(' ')[2]))
    for (const word of ['demo', 'broker', 'validate', 'explain', 'replay']) expect(said).toContain(word)
  })

  it.each(groups)('$place does what it says', async ({ lines, expected, sample }) => {
    let output = ''
    for (const line of lines) output += await run(line)
    if (expected === undefined) return
    if (sample) expect(shapeOf(output)).toEqual(shapeOf(expected))
    else expect(output).toBe(expected)
  })
})
