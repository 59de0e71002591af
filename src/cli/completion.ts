import type { Command } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type ShellName = (typeof SHELLS)[number]

interface Completed {
  readonly name: string
  readonly description: string
  readonly options: readonly { readonly flag: string; readonly description: string }[]
}

/** Returns a completion script for a shell with all commands and their long options; other words are files. */
export function completionScript(program: Command, shell: ShellName): string {
  const commands = program.commands.map(
    (command): Completed => ({
      name: command.name(),
      description: command.description(),
      options: [
        ...command.options.map(({ long, description }) => ({ flag: long ?? '', description })),
        { flag: '--help', description: 'print help' },
      ].filter(({ flag }) => flag !== ''),
    }),
  )
  if (shell === 'bash') return bashScript(commands)
  return shell === 'zsh' ? zshScript(commands) : fishScript(commands)
}

function bashScript(commands: readonly Completed[]): string {
  const cases = commands.map(
    ({ name, options }) => `    ${name}) words="${options.map(({ flag }) => flag).join(' ')}" ;;`,
  )
  return [
    '# topicgate completion for bash: eval "$(topicgate completion bash)"',
    '_topicgate() {',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: bash's own
    '  local current="${COMP_WORDS[COMP_CWORD]}" words=""',
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
    '    *) COMPREPLY=($(compgen -f -- "$current")) ;;',
    '  esac',
    '}',
    'complete -o filenames -F _topicgate topicgate',
    '',
  ].join('\n')
}

function zshScript(commands: readonly Completed[]): string {
  const quote = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(':', '\\:')
  const cases = commands.map(({ name, options }) => {
    const words = options.map(({ flag, description }) => `'${flag}:${quote(description)}'`).join(' ')
    return `    ${name}) choices=(${words}) ;;`
  })
  return [
    '#compdef topicgate',
    '# topicgate completion for zsh: eval "$(topicgate completion zsh)"',
    '_topicgate() {',
    '  local -a choices',
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
    ...commands.flatMap(({ name, description, options }) => [
      `complete -c topicgate -n "not __fish_seen_subcommand_from ${names}" -f -a ${name} -d '${quote(description)}'`,
      ...options.map(
        option =>
          `complete -c topicgate -n "__fish_seen_subcommand_from ${name}" -l ${option.flag.slice(2)} -d '${quote(option.description)}'`,
      ),
    ]),
    '',
  ].join('\n')
}
