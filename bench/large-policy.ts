/** Returns the YAML of a policy with rules of several kinds. `variant` changes the numbers of every rule. */
export function policyText(rules: number, variant: 'a' | 'b'): string {
  const lines = [
    'version: 1',
    'senders: { device: "{topic.device}" }',
    'exempt:',
    '  - name: operators',
    '    roles: [admin]',
    '    ips: [10.0.0.0/8]',
    'rules:',
    '  - name: client',
    '    per: client',
    '    limit: 1000/s',
  ]
  for (let index = 0; index < rules - 1; index++) {
    lines.push(`  - name: site-${index}`, `    topic: "fleet/site-${index}/{device}/telemetry/#"`)
    lines.push('    per: device', ...KINDS[index % KINDS.length]!(variant === 'a' ? 100 : 110))
  }
  return `${lines.join('\n')}\n`
}

/** Lines of a rule, by kind. */
const KINDS: readonly ((count: number) => readonly string[])[] = [
  count => [`    limit: ${count}/s burst ${2 * count}`, '    exceeded: throttle'],
  count => [`    quota: ${count}000/day`, '    exceeded: drop', '    warn: [80%]'],
  count => [`    limit: ${count} per minute`, '    cost: { bytes: per 4KiB }', '    when: { qos: 1 }'],
  count => [`    limit: ${count}kB/s`, '    for: { roles: [guest] }', '    shadow: true'],
  count => [
    `    limit: ${count}/s`,
    '    description: "limit of a site"',
    '    exceeded: { throttle: { upTo: 30s } }',
  ],
]
