/** Dark and light: by the system, or by choice, which is kept in this browser. */

export type ThemeChoice = 'system' | 'light' | 'dark'
const KEPT = 'headrace.theme'
const dark = matchMedia('(prefers-color-scheme: dark)')

function kept(): ThemeChoice {
  const found = localStorage.getItem(KEPT)
  return found === 'light' || found === 'dark' ? found : 'system'
}

class Theme {
  choice = $state<ThemeChoice>(kept())
  #systemIsDark = $state(dark.matches)
  shown = $derived<'light' | 'dark'>(this.choice === 'system' ? (this.#systemIsDark ? 'dark' : 'light') : this.choice)

  constructor() {
    dark.addEventListener('change', () => {
      this.#systemIsDark = dark.matches
      this.apply()
    })
    this.apply()
  }

  choose(choice: ThemeChoice): void {
    this.choice = choice
    if (choice === 'system') localStorage.removeItem(KEPT)
    else localStorage.setItem(KEPT, choice)
    this.apply()
  }

  apply(): void {
    document.documentElement.dataset.theme = this.shown
  }
}

export const theme = new Theme()
