import type { Command } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type ShellName = (typeof SHELLS)[number]

interface Completed {
  readonly name: string
  /** Names of its own commands, such as `set`. */
  readonly subcommands: readonly string[]
  readonly description: string
  readonly options: readonly { readonly flag: string; readonly description: string }[]
}

/** Returns a completion script for a shell with all commands and their long options; other words are files. */
export function completionScript(program: Command, shell: ShellName): string {
  const commands = program.commands.map(
    (command): Completed => ({
      name: command.name(),
      subcommands: command.commands.map(each => each.name()),
      description: command.description(),
      options: optionsOf(command),
    }),
  )
  if (shell === 'bash') return bashScript(commands)
  return shell === 'zsh' ? zshScript(commands) : fishScript(commands)
}

/** Returns the options of a command and of its own commands, each once. */
function optionsOf(command: Command): Completed['options'] {
  const options = [command, ...command.commands].flatMap(each => each.options)
  const flags = new Map(options.map(({ long, description }) => [long ?? '', description]))
  flags.set('--help', 'print help')
  flags.delete('')
  return [...flags].map(([flag, description]) => ({ flag, description }))
}

function bashScript(commands: readonly Completed[]): string {
  const cases = commands.map(({ name, subcommands, options }) => {
    const words = `words="${options.map(({ flag }) => flag).join(' ')}"`
    return `    ${name}) ${words} subcommands="${subcommands.join(' ')}" ;;`
  })
  return [
    '# topicgate completion for bash: eval "$(topicgate completion bash)"',
    '_topicgate() {',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: bash's own
    '  local current="${COMP_WORDS[COMP_CWORD]}" words="" subcommands=""',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')}" -- "$current"))`,
    '    return',
    '  fi',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: bash's own
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    '  esac',
    '  case "$current" in',
    '    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;',
    '    *) if [ "$COMP_CWORD" -eq 2 ] && [ -n "$subcommands" ]; then',
    '         COMPREPLY=($(compgen -W "$subcommands" -- "$current"))',
    '       else',
    '         COMPREPLY=($(compgen -f -- "$current"))',
    '       fi ;;',
    '  esac',
    '}',
    'complete -o filenames -F _topicgate topicgate',
    '',
  ].join('\n')
}

function zshScript(commands: readonly Completed[]): string {
  const quote = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(':', '\\:')
  const cases = commands.map(({ name, subcommands, options }) => {
    const words = options.map(({ flag, description }) => `'${flag}:${quote(description)}'`).join(' ')
    return `    ${name}) choices=(${words}); subcommands=(${subcommands.join(' ')}) ;;`
  })
  return [
    '#compdef topicgate',
    '# topicgate completion for zsh: eval "$(topicgate completion zsh)"',
    '_topicgate() {',
    '  local -a choices subcommands',
    '  if (( CURRENT == 2 )); then',
    `    choices=(${commands.map(({ name, description }) => `'${name}:${quote(description)}'`).join(' ')})`,
    "    _describe 'command' choices",
    '    return',
    '  fi',
    '  case "$words[2]" in',
    ...cases,
    '  esac',
    '  if [[ "$PREFIX" == -* ]]; then',
    "    _describe 'option' choices",
    '  elif (( CURRENT == 3 && $#subcommands > 0 )); then',
    "    _describe 'command' subcommands",
    '  else',
    '    _files',
    '  fi',
    '}',
    'compdef _topicgate topicgate',
    '',
  ].join('\n')
}

function fishScript(commands: readonly Completed[]): string {
  const quote = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
  const names = commands.map(({ name }) => name).join(' ')
  return [
    '# topicgate completion for fish: topicgate completion fish | source',
    ...commands.flatMap(({ name, subcommands, description, options }) => [
      `complete -c topicgate -n "not __fish_seen_subcommand_from ${names}" -f -a ${name} -d '${quote(description)}'`,
      ...subcommands.map(
        word =>
          `complete -c topicgate -n "__fish_seen_subcommand_from ${name}; and not __fish_seen_subcommand_from ${subcommands.join(' ')}" -f -a ${word}`,
      ),
      ...options.map(
        option =>
          `complete -c topicgate -n "__fish_seen_subcommand_from ${name}" -l ${option.flag.slice(2)} -d '${quote(option.description)}'`,
      ),
    ]),
    '',
  ].join('\n')
}
