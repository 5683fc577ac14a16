{{/* Every object is RELEASE-COMPONENT; 40 characters leave room for the component. */}}
{{- define "semcast.name" -}}
{{- printf "%s-%s" (.root.Release.Name | trunc 40 | trimSuffix "-") .component -}}
{{- end -}}

{{- define "semcast.selector" -}}
app.kubernetes.io/name: semcast
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "semcast.labels" -}}
{{ include "semcast.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "semcast.address" -}}
{{- $settings := index .root.Values .component -}}
{{- printf "%s:%v" (include "semcast.name" .) $settings.port -}}
{{- end -}}

{{/* SEMCAST_ICE_SERVERS out of the TURN secret, where there is one. */}}
{{- define "semcast.iceServers" -}}
{{- with .Values.turn.existingSecret }}
- name: SEMCAST_ICE_SERVERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: ice-servers
{{- end }}
{{- end -}}

{{/*
A Deployment of one pod.
  root; component; env: YAML of the variables beside host, ports and log level; probe: YAML of the
  handler of its probes; cached: whether it compiles (numba) or downloads models.
*/}}
{{- define "semcast.deployment" -}}
{{- $settings := index .root.Values .component -}}
{{- $gpu := dig "gpu" "enabled" false $settings -}}
{{- $imageName := ternary (dig "gpu" "image" "" $settings) $settings.image $gpu -}}
{{- $image := printf "%s%s:%s" .root.Values.image.registry $imageName (.root.Values.image.tag | default .root.Chart.AppVersion) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "semcast.name" . }}
  labels:
    {{- include "semcast.labels" . | nindent 4 }}
spec:
  # Sessions live in one process: never two at a time, not even while one replaces the other.
  replicas: 1
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "semcast.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "semcast.labels" . | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      # Else a Service named "semcast" would set SEMCAST_PORT in every pod.
      enableServiceLinks: false
      terminationGracePeriodSeconds: 15
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $gpu }}
      {{- with $settings.gpu.runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- end }}
      {{- with $settings.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $settings.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile:
          type: RuntimeDefault
      {{- if .cached }}
      initContainers:
        # What the image has compiled already, into a folder that can be written to.
        - name: cache
          image: {{ $image }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          command: [cp, -r, /var/cache/semcast/., /cache/]
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          volumeMounts:
            - {name: cache, mountPath: /cache}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ $image }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: [python, -m, semcast, serve, {{ .component }}]
          env:
            - {name: SEMCAST_HOST, value: 0.0.0.0}
            - {name: SEMCAST_PORT, value: {{ $settings.port | quote }}}
            - {name: SEMCAST_METRICS_PORT, value: {{ $settings.metricsPort | quote }}}
            - {name: SEMCAST_LOG_LEVEL, value: {{ .root.Values.logLevel }}}
            {{- with .env }}
            {{- . | nindent 12 }}
            {{- end }}
          ports:
            - {name: main, containerPort: {{ $settings.port }}}
            - {name: metrics, containerPort: {{ $settings.metricsPort }}}
          # Ready once the decoders are compiled and models are loaded: minutes, the first time.
          startupProbe:
            {{- .probe | nindent 12 }}
            periodSeconds: 2
            timeoutSeconds: 3
            failureThreshold: 150
          readinessProbe:
            {{- .probe | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            {{- .probe | nindent 12 }}
            periodSeconds: 15
            timeoutSeconds: 5
            failureThreshold: 4
          resources:
            {{- $resources := deepCopy $settings.resources }}
            {{- if $gpu }}
            {{- $limits := merge (dict "nvidia.com/gpu" $settings.gpu.count) ($resources.limits | default dict) }}
            {{- $_ := set $resources "limits" $limits }}
            {{- end }}
            {{- toYaml $resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if .cached }}
            - {name: cache, mountPath: /var/cache/semcast}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: {{ $settings.tmpSize }}
        {{- if .cached }}
        - name: cache
          emptyDir: {}
        {{- end }}
{{- end -}}
