export { nearest } from '../option-names.ts'
