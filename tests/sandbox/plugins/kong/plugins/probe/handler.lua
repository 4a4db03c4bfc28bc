-- A plugin for tests: does what its config says, in the phase it says.
local H = { PRIORITY = 1500, VERSION = "1" }
local function run(conf, phase)
  local code = conf[phase]
  if not code then return end
  local f = assert(loadstring(code, "=" .. phase))
  return f(conf)
end
for _, phase in ipairs { "init_worker", "rewrite", "access", "header_filter", "log" } do
  H[phase] = function(_, conf) if conf then return run(conf, phase) end end
end
return H
