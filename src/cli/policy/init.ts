import { access } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import type { Dialect } from '../../core/message.ts'
import { loadPolicy } from '../../policy/index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { writeOutputFile } from '../terminal/write-output-file.ts'

export interface InitOptions {
  readonly file: string
  readonly dialect?: Dialect | undefined
  readonly topic?: string | undefined
  readonly limit?: string | undefined
  /** Uses defaults without asking questions. */
  readonly yes: boolean
  /** Replaces an existing file. */
  readonly force: boolean
}

interface Answers {
  readonly dialect: Dialect
  readonly topic: string
  readonly limit: string
}

const DEFAULT_TOPIC: Readonly<Record<Dialect, string>> = {
  mqtt: 'devices/{device}/#',
  nats: 'devices.{device}.>',
}

/**
 * Writes a first policy from three questions. Throws CommandError if the file exists, PolicyError if the answers do not
 * form a valid policy; then nothing is written.
 */
export async function init(options: InitOptions, terminal: Terminal): Promise<number> {
  const { file, force } = options
  const exists = await access(file).then(
    () => true,
    () => false,
  )
  if (exists && !force) {
    throw new CommandError(`${file} exists (name another file, or add --force)`, EXIT.usage)
  }
  const answers = await ask(options, terminal)
  const text = policyText(answers)
  await loadPolicy(text)
  await writeOutputFile(file, 'the policy', text)
  const example = answers.topic.replace(/\{(\w+)\}/g, '$11').replace(/[#>]$/, 'state')
  await write(
    terminal.stdout,
    [
      `wrote ${file}: one limit per device, and a backstop for those that vary their topics`,
      'next:',
      `  npx topicgate validate ${file}`,
      `  npx topicgate explain ${file} --topic ${example} --client c1`,
      ...(answers.dialect === 'mqtt' ? [`  npx topicgate broker --policy ${file}`] : []),
      '',
    ].join('\n'),
  )
  return EXIT.fine
}

async function ask(options: InitOptions, terminal: Terminal): Promise<Answers> {
  if (options.yes) {
    const dialect = options.dialect ?? 'mqtt'
    return {
      dialect,
      topic: options.topic ?? DEFAULT_TOPIC[dialect],
      limit: options.limit ?? '10/s burst 50',
    }
  }
  const lines = createInterface({ input: terminal.stdin })
  const input = lines[Symbol.asyncIterator]()
  const question = async (text: string, fallback: string): Promise<string> => {
    await write(terminal.stderr, `${text} [${fallback}] `)
    const { value, done } = await input.next()
    return done || value.trim() === '' ? fallback : value.trim()
  }
  try {
    const dialect = options.dialect ?? (await question('MQTT or NATS?', 'mqtt')).toLowerCase()
    if (dialect !== 'mqtt' && dialect !== 'nats') {
      throw new CommandError(`"${dialect}" is not a dialect (answer mqtt or nats)`, EXIT.usage)
    }
    const topic =
      options.topic ??
      (await question(
        'Topics of your devices, with {device} for the level that names one?',
        DEFAULT_TOPIC[dialect],
      ))
    const limit = options.limit ?? (await question('How much may one device send?', '10/s burst 50'))
    return { dialect, topic, limit }
  } finally {
    lines.close()
  }
}

function policyText({ dialect, topic, limit }: Answers): string {
  const hasDevice = topic.includes('{device}')
  const backstop =
    dialect === 'mqtt'
      ? ['  - name: client', '    description: One client over all its topics.', '    per: client']
      : ['  - name: all', '    description: All messages together.', '    per: global']
  return [
    '# Checked by `topicgate validate`; each word is explained in docs/policy.md.',
    'version: 1',
    `dialect: ${dialect}`,
    ...(hasDevice ? ['senders:', '  device: "{topic.device}"'] : []),
    'rules:',
    '  - name: device',
    `    topic: ${JSON.stringify(topic)}`,
    `    per: ${hasDevice ? 'device' : 'client'}`,
    `    limit: ${limit}`,
    '    exceeded: drop',
    ...backstop,
    `    limit: ${dialect === 'mqtt' ? '100/s burst 500' : '10000/s burst 20000'}`,
    '    exceeded: drop',
    ...(dialect === 'mqtt'
      ? [
          '  - name: connects',
          '    on: connect',
          '    per: ip',
          '    limit: 20/s burst 200',
          '    exceeded: reject',
        ]
      : []),
    '',
  ].join('\n')
}
