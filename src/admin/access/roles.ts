/** Roles of tokens, each with the rights of those before it. */
export const ROLES = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof ROLES)[number]

/** Author of a request: the name and role of its token, or of the unix socket. */
export interface Caller {
  readonly name: string
  readonly role: Role
}

/** Returns true if a role has at least the rights of another. */
export function hasRole(own: Role, needed: Role): boolean {
  return ROLES.indexOf(own) >= ROLES.indexOf(needed)
}

export function isRole(word: string | undefined): word is Role {
  return ROLES.includes(word as Role)
}
