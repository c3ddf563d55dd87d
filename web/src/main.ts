import './lib/styles/base.css'
import { mount } from 'svelte'
import App from './App.svelte'
import { routeOf } from './routes'

// The page's code comes while it is asked who is there; what fails here fails again, visibly, where it is shown.
void routeOf(location.pathname)?.route.page().catch(() => undefined)
mount(App, { target: document.getElementById('app')! })
