import { InvalidArgumentError, Option } from 'commander'
import { parseSenderId, type SenderName } from '../../admin/sender-id.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

export interface PlotFlags {
  readonly plot?: string
  readonly sender?: SenderName
}

/** A plot of the level of one sender. */
export interface LevelPlotOptions {
  readonly file: string
  readonly sender: SenderName
}

export function plotOption(): Option {
  return new Option('--plot <file>', 'write a plot of the level of --sender against its limits, as SVG')
}

export function plotSenderOption(): Option {
  return new Option('--sender <name>', 'the sender that --plot shows, as client:d7').argParser(text => {
    const name = parseSenderId(text)
    if (name !== undefined) return name
    throw new InvalidArgumentError('Write a sender as client:d7, user:anna, device:d7 or ip:192.0.2.1.')
  })
}

/** Returns the plot; undefined if none is asked for. Throws CommandError if one flag is missing. */
export function readPlotFlags({ plot, sender }: PlotFlags): LevelPlotOptions | undefined {
  if (plot === undefined && sender === undefined) return undefined
  if (plot !== undefined && sender !== undefined) return { file: plot, sender }
  const remedy =
    sender === undefined
      ? '--plot shows one sender: add --sender client:d7'
      : '--sender is for the plot: add --plot levels.svg'
  throw new CommandError(remedy, EXIT.usage)
}
