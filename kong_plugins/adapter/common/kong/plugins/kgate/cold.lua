--- pdk lane: where the gate plugins may have no instances yet, one request at a time goes to them.
--
-- Kong starts a plugin's instance at its first request; the others wait for it up to ten seconds, for each plugin
-- again, and try one after the other where that fails (kong/runloop/plugin_servers/plugin.lua). With a server that
-- hangs, 40 clients would wait for 12 s. They wait here instead: after two failed tries the breaker answers them all.

local ngx = ngx

local M = {}

local STEP, MOST = 0.01, 3 -- seconds; a try of four plugins that all hang takes 1.2

--- Wait while another request of the plan tries. What it found is then known to the breaker.
function M.wait(plan)
  if plan.warm or not plan.trying then
    return
  end
  local last = ngx.now() + MOST
  repeat
    ngx.sleep(STEP)
  until plan.warm or not plan.trying or ngx.now() >= last
end

--- This request goes to the gate plugins.
function M.try(rec, plan)
  if not plan.warm and not plan.trying then
    plan.trying, rec.trying = true, true
  end
end

--- What came of it. answered: the plugins' server did answer, so the instances are there.
function M.done(rec, plan, answered)
  plan.warm = answered
  if rec.trying then
    plan.trying, rec.trying = nil, nil
  end
end

return M
