import type { Command } from 'commander'
import type { AddAdminCommand } from '../admin/entry-commands.ts'
import {
  appendOptionValue,
  parseBytesArgument,
  parseCount,
  parseDurationArgument,
  parsePercentArgument,
  parsePort,
} from '../arguments/parse-argument-values.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { CaptureFlags } from './capture-messages.ts'
import { DEFAULT_CAPTURE_ROTATION } from './live-capture-options.ts'

/** Adds the command capture, which records messages of a running topicgate, of a broker, or of a pcap. */
export function addCaptureCommand(
  program: Command,
  add: AddAdminCommand,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  const command = add(program, 'capture', 'record messages for replay, explain, suggest, test and diff')
    .option('--for <duration>', 'how long; default: 60s; a pcap: all of it', parseDurationArgument)
    .option('--max <count>', 'end after so many', parseCount)
    .option('--client <id>', 'only those of a client, of a running topicgate')
    .option('--topic <pattern>', 'only those on matching topics, of a running topicgate')
    .option('--reason <text>', 'the reason, for the audit log of a running topicgate')
    .option('--from <url>', 'a broker instead, by subscribing: mqtt://HOST, mqtts, ws, wss or nats')
    .option(
      '--subscribe <topic>',
      'topic at the broker, as "fleet/{site}/{client}/#"; may be given several times',
      appendOptionValue,
    )
    .option('--pcap <file>', 'a recording of tcpdump instead; needs tshark')
    .option('--port <port>', 'port of the broker in the recording', parsePort, 1883)
    .option(
      '--senders <share>',
      'only so many of the senders, as 5%, always the same',
      parsePercentArgument,
      1,
    )
    .option('--hash-senders', 'replace the names of senders, and leave out addresses')
    .option('--out <file>', 'write to a file; .gz compresses it; default: the standard output')
    .option(
      '--rotate <bytes>',
      'begin another file after so many',
      parseBytesArgument,
      DEFAULT_CAPTURE_ROTATION.rotateBytes,
    )
    .option(
      '--files <count>',
      'keep so many files, the latest ones',
      parseCount,
      DEFAULT_CAPTURE_ROTATION.files,
    )
  command.action(async () => {
    const { captureMessages } = await import('./capture-messages.ts')
    done(await captureMessages(command.opts<CaptureFlags>(), terminal))
  })
}
